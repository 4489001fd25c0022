"""Sound from the network: RTSP and HTTP, received and decoded by the system's ffmpeg."""
