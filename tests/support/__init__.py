"""What tests share: engine processes, a raw WebSocket client, steered SDK workers, a TCP proxy that cuts."""
