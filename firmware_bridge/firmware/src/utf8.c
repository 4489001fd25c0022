#include "bridge/frame.h"

/* The bytes of the character that begins at `text`; 0 where none does that is whole and well formed (RFC 3629, 4). */
static size_t character_bytes(const uint8_t *text, size_t count) {
  const uint8_t first = text[0];
  size_t bytes = 0;
  uint8_t lowest = 0x80;  /* of the second byte: these two keep out what is written too long, */
  uint8_t highest = 0xBF; /* surrogates, and what is beyond U+10FFFF */
  if (first < 0x80U) {
    return 1;
  }
  if (first >= 0xC2U && first <= 0xDFU) {
    bytes = 2;
  } else if (first >= 0xE0U && first <= 0xEFU) {
    bytes = 3;
    lowest = first == 0xE0U ? 0xA0 : lowest;
    highest = first == 0xEDU ? 0x9F : highest;
  } else if (first >= 0xF0U && first <= 0xF4U) {
    bytes = 4;
    lowest = first == 0xF0U ? 0x90 : lowest;
    highest = first == 0xF4U ? 0x8F : highest;
  }
  if (bytes == 0 || bytes > count || text[1] < lowest || text[1] > highest) {
    return 0;
  }
  for (size_t index = 2; index < bytes; index++) {
    if ((text[index] & 0xC0U) != 0x80U) {
      return 0;
    }
  }
  return bytes;
}

size_t bridge_whole_characters(const uint8_t *text, size_t count, size_t limit) {
  size_t whole = 0;
  while (whole < count) {
    const size_t bytes = character_bytes(text + whole, count - whole);
    if (bytes == 0 || whole + bytes > limit) {
      break;
    }
    whole += bytes;
  }
  return whole;
}

bool bridge_is_utf8(const uint8_t *text, size_t count) { return bridge_whole_characters(text, count, count) == count; }
