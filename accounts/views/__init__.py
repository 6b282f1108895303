"""Pages about people and their teams, one module each. A view parses, calls one service and renders one template."""
