/* Any bytes come back from COBS as they went in; any bytes as a stream stay within the decoder's buffer. */
#include <stdlib.h>
#include <string.h>

#include "bridge/packet.h"

#define ROOM 8192U

static uint8_t stuffed[ROOM];
static size_t stuffed_bytes;

static void keep(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  if (count > ROOM - stuffed_bytes) {
    abort();
  }
  memcpy(stuffed + stuffed_bytes, bytes, count);
  stuffed_bytes += count;
}

static void expect(bool holds) {
  if (!holds) {
    abort();
  }
}

/* Decodes bytes that hold no frame longer than `capacity`; the address sanitizer watches the end of the buffer. */
static size_t decode_all(const uint8_t *stream, size_t count, size_t capacity, uint8_t *room) {
  bridge_cobs_decoder decoder;
  size_t frames = 0;
  bridge_cobs_decoder_init(&decoder, room, capacity);
  for (size_t index = 0; index < count; index++) {
    if (bridge_cobs_decode(&decoder, stream[index]) == BRIDGE_COBS_FRAME) {
      expect(decoder.count <= capacity);
      (void)bridge_check_crc(room, decoder.count);
      frames++;
    }
  }
  return frames;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  if (count == 0 || count > ROOM / 2U) {
    return 0;
  }
  const size_t capacity = (size_t)bytes[0] * 4U + 1U;
  bytes++;
  count--;
  uint8_t *buffer = malloc(capacity);
  uint8_t *again = malloc(count + 1U);
  if (buffer == NULL || again == NULL) {
    abort();
  }
  (void)decode_all(bytes, count, capacity, buffer);
  stuffed_bytes = 0;
  bridge_cobs_encode(bytes, count, keep, NULL);
  expect(stuffed_bytes <= BRIDGE_COBS_BOUND(count) + 1U);
  expect(memchr(stuffed, 0, stuffed_bytes) == stuffed + stuffed_bytes - 1U);
  expect(decode_all(stuffed, stuffed_bytes, count + 1U, again) == 1U);
  expect(memcmp(again, bytes, count) == 0);
  free(buffer);
  free(again);
  return 0;
}
