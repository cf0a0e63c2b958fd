"""What crosses a boundary, declared once: events, items, users, slates and outcomes."""
