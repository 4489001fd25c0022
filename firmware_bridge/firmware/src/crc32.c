#include "bridge/crc32.h"

/* A table for half a byte is 64 bytes of flash; one for a whole byte would be 1 KB and not twice as fast. */
static const uint32_t REMAINDERS[16] = {
    0x00000000U, 0x1DB71064U, 0x3B6E20C8U, 0x26D930ACU, 0x76DC4190U, 0x6B6B51F4U, 0x4DB26158U, 0x5005713CU,
    0xEDB88320U, 0xF00F9344U, 0xD6D6A3E8U, 0xCB61B38CU, 0x9B64C2B0U, 0x86D3D2D4U, 0xA00AE278U, 0xBDBDF21CU,
};

uint32_t bridge_crc32(uint32_t before, const uint8_t *bytes, size_t count) {
  uint32_t remainder = ~before;
  for (size_t index = 0; index < count; index++) {
    remainder ^= bytes[index];
    remainder = (remainder >> 4) ^ REMAINDERS[remainder & 15U];
    remainder = (remainder >> 4) ^ REMAINDERS[remainder & 15U];
  }
  return ~remainder;
}
