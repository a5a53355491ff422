"""What an idle connection costs: our gateway, and bare servers that it could stand on."""
