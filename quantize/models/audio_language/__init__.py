"""What published systems of sound and language share: their files, their clips, mappers, GPT-2 and its beam search."""
