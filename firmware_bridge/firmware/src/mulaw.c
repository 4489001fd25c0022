#include "bridge/mulaw.h"

#define BIAS 132 /* 33 in the standard's 14 bits */

int16_t bridge_mulaw_sample(uint8_t code) {
  const unsigned inverted = (uint8_t)~code;
  const int32_t mantissa = (int32_t)(((inverted & 15U) << 3) + BIAS);
  const int32_t size = (int32_t)((uint32_t)mantissa << ((inverted >> 4) & 7U)) - BIAS;
  return (int16_t)((inverted & 0x80U) != 0 ? -size : size);
}
