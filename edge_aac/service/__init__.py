"""What a service needs beside the stream: a service manager that is told how it does, settings that are reloaded."""
