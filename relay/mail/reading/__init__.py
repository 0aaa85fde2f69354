"""Reading what comes back to a return path, whatever form it has. `relay.mail.classify` is the way in."""
