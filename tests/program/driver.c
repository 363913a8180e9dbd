// Stands for the NVIDIA driver where there is none: one GPU, whose context does not fit into its memory.

#include <string.h>

int cuInit(unsigned flags) { return 0; }

int cuDeviceGetCount(int *count) {
  *count = 1;
  return 0;
}

int cuDeviceGet(int *device, int number) {
  *device = number;
  return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
  strncpy(name, "A GPU of C", length);
  return 0;
}

int cuDeviceTotalMem_v2(unsigned long *bytes, int device) {
  *bytes = 24000000000;
  return 0;
}

int cuGetErrorString(int error, const char **text) {
  *text = "what the driver says";
  return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { return 2; }
