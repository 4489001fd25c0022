#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

void fail(const char *what, const char *why) {
  (void)fprintf(stderr, "stream_wav: %s: %s\n", what, why);
  exit(1);
}

static speed_t speed_of(unsigned long baud) {
  switch (baud) {
    case 115200UL:
      return B115200;
    case 230400UL:
      return B230400;
    case 460800UL:
      return B460800;
    case 921600UL:
      return B921600;
    default:
      fail("--baud", "115200, 230400, 460800 or 921600");
      return B0;
  }
}

int open_serial(const char *path, unsigned long baud) {
  const int line = open(path, O_RDWR | O_NOCTTY);
  struct termios settings;
  if (line < 0 || tcgetattr(line, &settings) != 0) {
    fail(path, strerror(errno));
  }
  cfmakeraw(&settings);
  (void)cfsetispeed(&settings, speed_of(baud));
  (void)cfsetospeed(&settings, speed_of(baud));
  if (tcsetattr(line, TCSANOW, &settings) != 0) {
    fail(path, strerror(errno));
  }
  return line;
}

int open_udp(const char *address) {
  char host[256];
  const char *colon = strrchr(address, ':');
  if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
    fail(address, "write HOST:PORT");
    return -1;
  }
  memcpy(host, address, (size_t)(colon - address));
  host[colon - address] = '\0';
  const struct addrinfo wanted = {.ai_socktype = SOCK_DGRAM};
  struct addrinfo *found = NULL;
  const int fault = getaddrinfo(host, colon + 1, &wanted, &found);
  if (fault != 0) {
    fail(address, gai_strerror(fault));
    return -1;
  }
  const int line = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  if (line < 0 || connect(line, found->ai_addr, found->ai_addrlen) != 0) {
    fail(address, strerror(errno));
  }
  freeaddrinfo(found);
  return line;
}

static int digit(char letter) {
  static const char DIGITS[] = "0123456789abcdef";
  const char *found = letter == '\0' ? NULL : strchr(DIGITS, letter >= 'A' && letter <= 'F' ? letter + 32 : letter);
  return found == NULL ? -1 : (int)(found - DIGITS);
}

void read_key(const char *path, uint8_t key[BRIDGE_KEY_BYTES]) {
  char text[2U * BRIDGE_KEY_BYTES + 1U] = {0};
  FILE *file = fopen(path, "r");
  if (file == NULL || fread(text, 1, sizeof text - 1U, file) != sizeof text - 1U) {
    fail(path, "no key of 64 hexadecimal digits");
    return;
  }
  (void)fclose(file);
  for (size_t index = 0; index < BRIDGE_KEY_BYTES; index++) {
    const int high = digit(text[2U * index]);
    const int low = digit(text[2U * index + 1U]);
    if (high < 0 || low < 0) {
      fail(path, "no key of 64 hexadecimal digits");
    }
    key[index] = (uint8_t)(high * 16 + low);
  }
}

uint32_t random_number(void) {
  uint32_t number = 0;
  FILE *file = fopen("/dev/urandom", "rb");
  if (file == NULL || fread(&number, sizeof number, 1, file) != 1) {
    fail("/dev/urandom", "no random numbers");
    return 0;
  }
  (void)fclose(file);
  return number;
}
