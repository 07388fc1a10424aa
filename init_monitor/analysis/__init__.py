"""What several rules, recipes and pages ask of records: segments, streams, gains. Pure, and without torch."""
