// Stands for cuBLAS, cuDNN and cuRAND on the GPU of gpu.c: nothing is computed, but sizes, types and memory are checked as
// the libraries would, and that float16 and bfloat16 are summed in float32.

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, BAD_PARAMETER = 7 };
enum { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14, CUBLAS_COMPUTE_32F = 68 };
enum { CUDNN_FLOAT = 0, CUDNN_HALF = 2, CUDNN_BFLOAT16 = 9, DEFAULT_MATH = 0, TENSOR_OP_MATH = 1, FMA_MATH = 3 };

static void *of_driver(const char *name) { return dlsym(dlopen("libcuda.so.1", RTLD_NOW), name); }

static void check(const void *from, size_t bytes, const char *what) {
  ((void (*)(const void *, size_t, const char *))of_driver("emulated_check"))(from, bytes, what);
}

static void count(const char *name) { ((void (*)(void))of_driver(name))(); }

static int create(void **handle) {
  *handle = malloc(1);
  return SUCCESS;
}

static int destroy(void *handle) {
  free(handle);
  return SUCCESS;
}

int cublasCreate_v2(void **handle) { return create(handle); }
int cublasDestroy_v2(void *handle) { return destroy(handle); }
int cublasSetStream_v2(void *handle, void *stream) { return SUCCESS; }
int cublasDgemmStridedBatched(void) { abort(); }
int curandCreateGenerator(void **generator, int kind) { return create(generator); }
int curandDestroyGenerator(void *generator) { return destroy(generator); }
int curandSetPseudoRandomGeneratorSeed(void *generator, unsigned long long seed) { return SUCCESS; }
int curandSetStream(void *generator, void *stream) { return SUCCESS; }
int cudnnCreate(void **handle) { return create(handle); }
int cudnnDestroy(void *handle) { return destroy(handle); }
int cudnnSetStream(void *handle, void *stream) { return SUCCESS; }

int cublasGemmStridedBatchedEx(void *handle, int transa, int transb, int m, int n, int k, const float *alpha, const void *a, int a_type, int lda,
                               int64_t a_stride, const void *b, int b_type, int ldb, int64_t b_stride, const float *beta, void *c, int c_type,
                               int ldc, int64_t c_stride, int batch, int compute, int algorithm) {
  const size_t one = a_type == CUDA_R_32F ? 4 : 2;
  const int typed = a_type == b_type && a_type == c_type && (a_type == CUDA_R_32F || a_type == CUDA_R_16F || a_type == CUDA_R_16BF);
  const int a_columns = transa ? m : k, a_rows = transa ? k : m, b_columns = transb ? k : n, b_rows = transb ? n : k;
  if (!typed || compute != CUBLAS_COMPUTE_32F || m <= 0 || n <= 0 || k <= 0 || lda < a_rows || ldb < b_rows || ldc < m) {
    return BAD_PARAMETER;
  }
  check(a, ((batch - 1) * a_stride + (size_t)(a_columns - 1) * lda + a_rows) * one, "the first factor of a product");
  check(b, ((batch - 1) * b_stride + (size_t)(b_columns - 1) * ldb + b_rows) * one, "the second factor of a product");
  check(c, ((batch - 1) * c_stride + (size_t)(n - 1) * ldc + m) * one, "a product");
  count("emulated_product");
  return SUCCESS;
}

// Of a tensor or filter its type and four sizes, of a convolution padding, stride, dilation and mathematics.
struct descriptor {
  int type, size[4];
  int padding[2], stride[2], math;
};

static int describe(struct descriptor **descriptor) {
  *descriptor = calloc(1, sizeof **descriptor);
  return SUCCESS;
}

int cudnnCreateTensorDescriptor(struct descriptor **d) { return describe(d); }
int cudnnCreateFilterDescriptor(struct descriptor **d) { return describe(d); }
int cudnnCreateConvolutionDescriptor(struct descriptor **d) { return describe(d); }
int cudnnDestroyTensorDescriptor(struct descriptor *d) { return destroy(d); }
int cudnnDestroyFilterDescriptor(struct descriptor *d) { return destroy(d); }
int cudnnDestroyConvolutionDescriptor(struct descriptor *d) { return destroy(d); }
int cudnnSetTensor4dDescriptorEx(void) { abort(); }

int cudnnSetTensor4dDescriptor(struct descriptor *d, int format, int type, int n, int c, int h, int w) {
  if (format != 0 || (type != CUDNN_FLOAT && type != CUDNN_HALF && type != CUDNN_BFLOAT16) || n <= 0 || c <= 0 || h <= 0 || w <= 0) {
    return BAD_PARAMETER;
  }
  *d = (struct descriptor){type, {n, c, h, w}};
  return SUCCESS;
}

int cudnnSetFilter4dDescriptor(struct descriptor *d, int type, int format, int k, int c, int h, int w) {
  return cudnnSetTensor4dDescriptor(d, format, type, k, c, h, w);
}

int cudnnSetConvolution2dDescriptor(struct descriptor *d, int pad_h, int pad_w, int u, int v, int dilation_h, int dilation_w, int mode,
                                    int compute) {
  if (compute != CUDNN_FLOAT || mode != 1 || dilation_h != 1 || dilation_w != 1) {
    return BAD_PARAMETER;
  }
  *d = (struct descriptor){.padding = {pad_h, pad_w}, .stride = {u, v}};
  return SUCCESS;
}

int cudnnSetConvolutionMathType(struct descriptor *d, int math) {
  d->math = math;
  return SUCCESS;
}

static int fit(const struct descriptor *x, const struct descriptor *w, const struct descriptor *how, const struct descriptor *y) {
  int good = x->type == w->type && x->type == y->type && x->size[1] == w->size[1] && y->size[0] == x->size[0] && y->size[1] == w->size[0];
  for (int i = 0; i < 2; i++) {
    good &= y->size[2 + i] == (x->size[2 + i] + 2 * how->padding[i] - w->size[2 + i]) / how->stride[i] + 1;
  }
  return good && (x->type == CUDNN_FLOAT ? how->math == FMA_MATH || how->math == DEFAULT_MATH : how->math == TENSOR_OP_MATH);
}

static size_t bytes(const struct descriptor *d) {
  return (size_t)d->size[0] * d->size[1] * d->size[2] * d->size[3] * (d->type == CUDNN_FLOAT ? 4 : 2);
}

// The first of the answers, 48 bytes each, is algorithm 0.
int cudnnGetConvolutionForwardAlgorithm_v7(void *handle, struct descriptor *x, struct descriptor *w, struct descriptor *how, struct descriptor *y,
                                           int asked, int *found, void *answers) {
  memset(answers, 0, 48 * asked);
  *found = 1;
  return fit(x, w, how, y) ? SUCCESS : BAD_PARAMETER;
}

int cudnnGetConvolutionForwardWorkspaceSize(void *handle, struct descriptor *x, struct descriptor *w, struct descriptor *how,
                                            struct descriptor *y, int algorithm, size_t *size) {
  *size = w->size[2] == 1 ? 0 : 4096;
  return SUCCESS;
}

int cudnnConvolutionForward(void *handle, const float *alpha, struct descriptor *x, const void *x_at, struct descriptor *w, const void *w_at,
                            struct descriptor *how, int algorithm, void *workspace, size_t size, const float *beta, struct descriptor *y,
                            void *y_at) {
  if (!fit(x, w, how, y) || *alpha != 1 || *beta != 0 || size != (w->size[2] == 1 ? 0 : 4096)) {
    return BAD_PARAMETER;
  }
  check(x_at, bytes(x), "a convolution's input");
  check(w_at, bytes(w), "a convolution's weight");
  check(y_at, bytes(y), "a convolution's output");
  if (size) {
    check(workspace, size, "a convolution's workspace");
  }
  count("emulated_convolution");
  return SUCCESS;
}
