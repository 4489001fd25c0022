/* Reads WAV files: 16-bit PCM, and G.711 mu-law, in which a recording takes half the flash. */
#ifndef HOST_WAV_H
#define HOST_WAV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  uint8_t *file;       /* to be freed */
  const uint8_t *data; /* in it */
  size_t count;        /* samples, all channels */
  uint32_t rate_hz;
  uint8_t channels;
  bool is_mulaw;
} wav;

/* NULL, or what is wrong with the file. */
const char *wav_read(const char *path, wav *sound);

/* One of the file's samples. */
int16_t wav_sample(const wav *sound, size_t index);

#endif
