"""A board that a group of users shares: notes, votes, and everyone's cursor."""
