"""The process that carries events: what has to be told, counted or done because something happened to a message."""
