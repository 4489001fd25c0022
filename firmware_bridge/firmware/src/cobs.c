#include "bridge/cobs.h"

#define LONGEST_BLOCK 254U
#define FULL_BLOCK 255U

void bridge_cobs_encode(const uint8_t *bytes, size_t count, bridge_put put, void *context) {
  static const uint8_t END = 0;
  size_t start = 0;
  bool again = true;
  while (again) {
    size_t length = 0;
    while (length < LONGEST_BLOCK && start + length < count && bytes[start + length] != 0) {
      length++;
    }
    const uint8_t code = (uint8_t)(length + 1U);
    put(context, &code, 1);
    if (length > 0) {
      put(context, bytes + start, length);
    }
    start += length;
    again = start < count;
    if (again && code != FULL_BLOCK) {
      start++; /* the zero that the block stands for; what is after it, be it nothing, is one more block */
    }
  }
  put(context, &END, 1);
}

static void begin(bridge_cobs_decoder *decoder) {
  decoder->count = 0;
  decoder->left = 0;
  decoder->zero = false;
  decoder->broken = false;
  decoder->ended = false;
}

void bridge_cobs_decoder_init(bridge_cobs_decoder *decoder, uint8_t *buffer, size_t capacity) {
  decoder->buffer = buffer;
  decoder->capacity = capacity;
  begin(decoder);
  decoder->ended = true;
}

static void append(bridge_cobs_decoder *decoder, uint8_t byte) {
  if (decoder->count < decoder->capacity) {
    decoder->buffer[decoder->count] = byte;
    decoder->count++;
  } else {
    decoder->broken = true;
  }
}

bridge_cobs_result bridge_cobs_decode(bridge_cobs_decoder *decoder, uint8_t byte) {
  if (byte == 0) {
    if (decoder->ended) {
      return BRIDGE_COBS_MORE;
    }
    const bool whole = !decoder->broken && decoder->left == 0;
    decoder->ended = true;
    return whole ? BRIDGE_COBS_FRAME : BRIDGE_COBS_BROKEN;
  }
  if (decoder->ended) {
    begin(decoder);
  }
  if (decoder->left > 0) {
    append(decoder, byte);
    decoder->left--;
    return BRIDGE_COBS_MORE;
  }
  if (decoder->zero) {
    append(decoder, 0);
  }
  decoder->left = (uint8_t)(byte - 1U);
  decoder->zero = byte != FULL_BLOCK;
  return BRIDGE_COBS_MORE;
}
