"""What programs that check labels find of mistakes that are known."""
