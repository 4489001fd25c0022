/* What stream_wav's device is linked with: a serial port or a socket, its key, its random numbers. Each ends the program, with
 * a sentence, where it cannot do what it is asked. */
#ifndef HOST_LINE_H
#define HOST_LINE_H

#include <stdint.h>

#include "bridge/packet.h"

/* Ends the program. */
void fail(const char *what, const char *why);

/* A file descriptor of a serial port or pseudo-terminal, set to raw bytes. */
int open_serial(const char *path, unsigned long baud);

/* A socket whose datagrams go to HOST:PORT. */
int open_udp(const char *address);

/* The key in a file of 64 hexadecimal digits. */
void read_key(const char *path, uint8_t key[BRIDGE_KEY_BYTES]);

uint32_t random_number(void);

#endif
