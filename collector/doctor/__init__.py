"""What is wrong, and who did it: answers for the one who looks after the pipeline."""
