"""What to do about a finding: code to paste, learning rates, and the phrases that findings are written in."""
