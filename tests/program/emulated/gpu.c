// Stands for the NVIDIA driver (libcuda.so.1) where there is none: one GPU whose memory is the CPU's and whose kernels do
// nothing. It holds its callers to the driver's rules: kernels that the loaded PTX has, copies within what was allocated, a
// context on every thread that allocates or launches. EMULATED_MEMORY limits its bytes; with EMULATED_REPORT it says at the
// end what was done.
//
// It goes once candle's CUDA backend can be tested without a GPU. The mock of the driver that we know,
// https://github.com/NVIDIA/k8s-test-infra/pull/232, returns success whatever is asked, and has neither cuBLAS nor cuDNN.

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };

typedef uint64_t device_pointer;

struct block {
  char *at;
  size_t bytes;
  struct block *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *blocks;
static size_t held, peak;
static long launches, products, convolutions, events;
static __thread void *context;
static int the_context;

__attribute__((destructor)) static void report(void) {
  if (getenv("EMULATED_REPORT")) {
    fprintf(stderr, "emulated: peak %zu held %zu launches %ld products %ld convolutions %ld events %ld\n", peak, held, launches, products,
            convolutions, events);
  }
}

static void refuse(const char *why) {
  fprintf(stderr, "emulated: %s\n", why);
  abort();
}

// Ends the program unless the bytes lie within one allocation; for the libraries beside this one.
void emulated_check(const void *from, size_t bytes, const char *what) {
  pthread_mutex_lock(&lock);
  struct block *block = blocks;
  while (block && !((char *)from >= block->at && (char *)from + bytes <= block->at + block->bytes)) {
    block = block->next;
  }
  pthread_mutex_unlock(&lock);
  if (!block) {
    refuse(what);
  }
}

void emulated_product(void) { __atomic_add_fetch(&products, 1, __ATOMIC_RELAXED); }
void emulated_convolution(void) { __atomic_add_fetch(&convolutions, 1, __ATOMIC_RELAXED); }

int cuInit(unsigned flags) { return SUCCESS; }

int cuDeviceGetCount(int *count) {
  *count = 1;
  return SUCCESS;
}

int cuDeviceGet(int *device, int number) {
  *device = number;
  return SUCCESS;
}

int cuDeviceGetName(char *name, int length, int device) {
  strncpy(name, "Emulated GPU", length);
  return SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  *bytes = 24000000000;
  return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = 1;
  return SUCCESS;
}

int cuGetErrorString(int error, const char **text) {
  *text = error == OUT_OF_MEMORY ? "out of emulated memory" : "an emulated error";
  return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **retained, int device) {
  *retained = &the_context;
  return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }

int cuCtxGetCurrent(void **current) {
  *current = context;
  return SUCCESS;
}

int cuCtxSetCurrent(void *current) {
  context = current;
  return SUCCESS;
}

int cuCtxSynchronize(void) { return SUCCESS; }

int cuStreamCreate(void **stream, unsigned flags) {
  *stream = malloc(1);
  return SUCCESS;
}

int cuStreamDestroy_v2(void *stream) {
  free(stream);
  return SUCCESS;
}

int cuStreamSynchronize(void *stream) { return SUCCESS; }

int cuStreamIsCapturing(void *stream, int *capturing) {
  *capturing = 0;
  return SUCCESS;
}

int cuEventCreate(void **event, unsigned flags) {
  __atomic_add_fetch(&events, 1, __ATOMIC_RELAXED);
  *event = malloc(1);
  return SUCCESS;
}

int cuEventDestroy_v2(void *event) {
  free(event);
  return SUCCESS;
}

int cuEventRecord(void *event, void *stream) { return SUCCESS; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return SUCCESS; }

int cuMemAllocAsync(device_pointer *allocated, size_t bytes, void *stream) {
  if (!context) {
    refuse("an allocation without a context");
  }
  if (bytes == 0) {
    return INVALID_VALUE;
  }
  const char *limit = getenv("EMULATED_MEMORY");
  pthread_mutex_lock(&lock);
  int fits = !limit || held + bytes <= strtoull(limit, NULL, 10);
  if (fits) {
    struct block *block = malloc(sizeof *block);
    *block = (struct block){aligned_alloc(256, (bytes + 255) / 256 * 256), bytes, blocks};
    memset(block->at, 0, bytes);
    blocks = block;
    held += bytes;
    peak = held > peak ? held : peak;
    *allocated = (device_pointer)block->at;
  }
  pthread_mutex_unlock(&lock);
  return fits ? SUCCESS : OUT_OF_MEMORY;
}

int cuMemFreeAsync(device_pointer allocated, void *stream) {
  pthread_mutex_lock(&lock);
  struct block **place = &blocks;
  while (*place && (device_pointer)(*place)->at != allocated) {
    place = &(*place)->next;
  }
  struct block *block = *place;
  if (!block) {
    refuse("freed what is not allocated");
  }
  *place = block->next;
  held -= block->bytes;
  pthread_mutex_unlock(&lock);
  free(block->at);
  free(block);
  return SUCCESS;
}

int cuMemcpyHtoDAsync_v2(device_pointer to, const void *from, size_t bytes, void *stream) {
  emulated_check((void *)to, bytes, "a copy to the device");
  memcpy((void *)to, from, bytes);
  return SUCCESS;
}

int cuMemcpyDtoHAsync_v2(void *to, device_pointer from, size_t bytes, void *stream) {
  emulated_check((void *)from, bytes, "a copy from the device");
  memcpy(to, (void *)from, bytes);
  return SUCCESS;
}

int cuMemcpyDtoDAsync_v2(device_pointer to, device_pointer from, size_t bytes, void *stream) {
  emulated_check((void *)to, bytes, "a copy on the device");
  emulated_check((void *)from, bytes, "a copy on the device");
  memcpy((void *)to, (void *)from, bytes);
  return SUCCESS;
}

int cuMemsetD8Async(device_pointer to, unsigned char value, size_t bytes, void *stream) {
  emulated_check((void *)to, bytes, "a filling");
  memset((void *)to, value, bytes);
  return SUCCESS;
}

int cuModuleLoadData(void **module, const void *ptx) {
  *module = strdup(ptx);
  return SUCCESS;
}

int cuModuleUnload(void *module) {
  free(module);
  return SUCCESS;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
  char entry[256];
  snprintf(entry, sizeof entry, ".entry %s(", name);
  if (!strstr(module, entry)) {
    fprintf(stderr, "emulated: no kernel %s\n", name);
    return NOT_FOUND;
  }
  *function = strdup(name);
  return SUCCESS;
}

int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream,
                   void **parameters, void **extra) {
  if (!context) {
    refuse("a launch without a context");
  }
  if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || !bx || !by || !bz || bx * by * bz > 1024) {
    return INVALID_VALUE;
  }
  __atomic_add_fetch(&launches, 1, __ATOMIC_RELAXED);
  return SUCCESS;
}
