"""How well the monitor judges: faulty and healthy trainings, each with a label that was checked without it."""
