#include "wav.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bridge/bytes.h"
#include "bridge/mulaw.h"

#define FORMAT_PCM 1U
#define FORMAT_MULAW 7U

/* The whole file in memory, or NULL. */
static uint8_t *read_file(const char *path, size_t *count) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    return NULL;
  }
  uint8_t *bytes = NULL;
  if (fseek(file, 0, SEEK_END) == 0) {
    const long size = ftell(file);
    if (size > 0 && fseek(file, 0, SEEK_SET) == 0) {
      bytes = malloc((size_t)size);
      *count = (size_t)size;
      if (bytes != NULL && fread(bytes, 1, *count, file) != *count) {
        free(bytes);
        bytes = NULL;
      }
    }
  }
  (void)fclose(file);
  return bytes;
}

/* The chunk of that name, or NULL; one that the file ends in is as long as the file has it. */
static const uint8_t *chunk(const wav *sound, size_t file_bytes, const char *name, size_t *count) {
  size_t at = 12;
  while (at + 8U <= file_bytes) {
    const size_t size = bridge_get32(sound->file + at + 4);
    const size_t left = file_bytes - at - 8U;
    if (memcmp(sound->file + at, name, 4) == 0) {
      *count = size < left ? size : left;
      return sound->file + at + 8;
    }
    if (size > left) {
      break;
    }
    at += 8U + size + size % 2U;
  }
  return NULL;
}

static const char *parse(wav *sound, size_t file_bytes) {
  size_t format_bytes = 0;
  size_t data_bytes = 0;
  if (file_bytes < 12U || memcmp(sound->file, "RIFF", 4) != 0 || memcmp(sound->file + 8, "WAVE", 4) != 0) {
    return "it is no WAV file";
  }
  const uint8_t *format = chunk(sound, file_bytes, "fmt ", &format_bytes);
  sound->data = chunk(sound, file_bytes, "data", &data_bytes);
  if (format == NULL || format_bytes < 16U || sound->data == NULL) {
    return "its format or its sound is missing";
  }
  const uint16_t tag = bridge_get16(format);
  const uint16_t channels = bridge_get16(format + 2);
  const uint16_t bits = bridge_get16(format + 14);
  sound->rate_hz = bridge_get32(format + 4);
  sound->is_mulaw = tag == FORMAT_MULAW;
  if (!(tag == FORMAT_PCM && bits == 16U) && !(tag == FORMAT_MULAW && bits == 8U)) {
    return "it is neither 16-bit PCM nor mu-law";
  }
  if (channels < 1U || channels > 2U || sound->rate_hz < 8000U || sound->rate_hz > 48000U) {
    return "it has not 1 or 2 channels at 8000 to 48000 Hz";
  }
  sound->channels = (uint8_t)channels;
  sound->count = data_bytes / (sound->is_mulaw ? 1U : 2U);
  sound->count -= sound->count % sound->channels;
  return NULL;
}

const char *wav_read(const char *path, wav *sound) {
  size_t file_bytes = 0;
  memset(sound, 0, sizeof *sound);
  sound->file = read_file(path, &file_bytes);
  if (sound->file == NULL) {
    return "it cannot be read";
  }
  const char *fault = parse(sound, file_bytes);
  if (fault != NULL) {
    free(sound->file);
    sound->file = NULL;
  }
  return fault;
}

int16_t wav_sample(const wav *sound, size_t index) {
  if (sound->is_mulaw) {
    return bridge_mulaw_sample(sound->data[index]);
  }
  return bridge_signed16(bridge_get16(sound->data + 2U * index));
}
