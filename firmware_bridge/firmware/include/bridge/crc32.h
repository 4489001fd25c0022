/* CRC-32 of IEEE 802.3: reflected polynomial 0xEDB88320, begun with and ended by an inversion. */
#ifndef BRIDGE_CRC32_H
#define BRIDGE_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The checksum of `count` bytes. `before` is the checksum of what came before them, 0 at the beginning. */
uint32_t bridge_crc32(uint32_t before, const uint8_t *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
