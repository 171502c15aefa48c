"""What one look says by itself of each place: the network's opinion, and what geometry and sun say without it."""
