/* Makes of a WAV file what an image is linked with: `recording.bin`, its samples, and `recording_format.h`. */
#include <stdio.h>
#include <stdlib.h>

#include "wav.h"

static int fail(const char *what, const char *why) {
  (void)fprintf(stderr, "link_recording: %s: %s\n", what, why);
  return 1;
}

int main(int count, char **words) {
  char path[4096];
  wav sound;
  if (count != 3) {
    return fail("usage", "link_recording FILE.wav FOLDER");
  }
  const char *fault = wav_read(words[1], &sound);
  if (fault != NULL) {
    return fail(words[1], fault);
  }
  if (sound.channels != 1U || sound.rate_hz % 1000U != 0) {
    return fail(words[1], "the microphone has one channel and whole samples a millisecond: 8, 16 … 48 kHz");
  }
  (void)snprintf(path, sizeof path, "%s/recording.bin", words[2]);
  FILE *data = fopen(path, "wb");
  const size_t bytes = sound.count * (sound.is_mulaw ? 1U : 2U);
  if (data == NULL || fwrite(sound.data, 1, bytes, data) != bytes || fclose(data) != 0) {
    return fail(path, "it cannot be written");
  }
  (void)snprintf(path, sizeof path, "%s/recording_format.h", words[2]);
  FILE *format = fopen(path, "w");
  if (format == NULL ||
      fprintf(format, "#define RECORDING_RATE_HZ %luU\n#define RECORDING_IS_MULAW %d\n", (unsigned long)sound.rate_hz,
              sound.is_mulaw ? 1 : 0) < 0 ||
      fclose(format) != 0) {
    return fail(path, "it cannot be written");
  }
  free(sound.file);
  return 0;
}
