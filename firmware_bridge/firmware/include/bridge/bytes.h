/* Numbers as little-endian bytes, at any address. */
#ifndef BRIDGE_BYTES_H
#define BRIDGE_BYTES_H

#include <stdint.h>

static inline uint16_t bridge_get16(const uint8_t *bytes) {
  return (uint16_t)(bytes[0] | ((uint32_t)bytes[1] << 8));
}

static inline uint32_t bridge_get32(const uint8_t *bytes) {
  return bridge_get16(bytes) | ((uint32_t)bridge_get16(bytes + 2) << 16);
}

static inline uint64_t bridge_get64(const uint8_t *bytes) {
  return bridge_get32(bytes) | ((uint64_t)bridge_get32(bytes + 4) << 32);
}

/* The number from -32768 to 32767 that has these 16 bits; a plain conversion is the compiler's to define. */
static inline int16_t bridge_signed16(uint16_t bits) {
  return (int16_t)(bits < 0x8000U ? (int32_t)bits : (int32_t)bits - 0x10000);
}

static inline int8_t bridge_signed8(uint8_t bits) {
  return (int8_t)(bits < 0x80U ? (int16_t)bits : (int16_t)bits - 0x100);
}

static inline void bridge_put16(uint8_t *bytes, uint16_t number) {
  bytes[0] = (uint8_t)(number & 0xFFU);
  bytes[1] = (uint8_t)(number >> 8);
}

static inline void bridge_put32(uint8_t *bytes, uint32_t number) {
  bridge_put16(bytes, (uint16_t)(number & 0xFFFFU));
  bridge_put16(bytes + 2, (uint16_t)(number >> 16));
}

static inline void bridge_put64(uint8_t *bytes, uint64_t number) {
  bridge_put32(bytes, (uint32_t)(number & 0xFFFFFFFFU));
  bridge_put32(bytes + 4, (uint32_t)(number >> 32));
}

#endif
