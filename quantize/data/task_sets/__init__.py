"""Sets that closed tasks are measured on, in the folders that their authors published: labels, captions, questions."""
