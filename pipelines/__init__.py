"""What a site says: archives, steps, products, parallel runs, reports, exports."""
