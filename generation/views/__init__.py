"""Pages about pictures, one module each. A view parses, calls one service and renders one template."""
