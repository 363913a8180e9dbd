// Attention without its scores in memory: a block of queries goes over the keys piece by piece and keeps, for each query,
// the largest score so far, the sum of the exponentials and the weighted sum of the values (FlashAttention-2, Dao 2023).
//
// q [batch, queries, heads * 64], k and v [batch, keys, heads * 64] -> out as q, all contiguous, in 16 bits; sums and
// exponentials in float32. The grid is [query blocks, heads, batch], a block has 128 threads.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
#include <stdint.h>

namespace {

constexpr int HEAD = 64;       // width of a head
constexpr int WARPS = 4;       // of a block
constexpr int ROWS = 16;       // queries of a warp
constexpr int QUERIES = WARPS * ROWS;
constexpr int KEYS = 32;       // at once
constexpr int THREADS = WARPS * 32;
// Rows in shared memory begin in other banks; matrices at every 16th row and column stay 32-byte aligned.
constexpr int LINE = HEAD + 8;
constexpr int SCORES_LINE = KEYS + 4;
constexpr int WEIGHTS_LINE = KEYS + 8;
constexpr int SUMS_LINE = HEAD + 4;

// Rows `first...` of a head into shared memory, zeros for those that there are not.
template <typename T, int COUNT>
__device__ void take_rows(T (*to)[LINE], const T *from, int first, int rows, int width) {
  constexpr int PIECES = HEAD * sizeof(T) / sizeof(uint4);
  for (int i = threadIdx.x; i < COUNT * PIECES; i += THREADS) {
    const int row = i / PIECES;
    const int column = i % PIECES * (HEAD / PIECES);
    uint4 piece = make_uint4(0, 0, 0, 0);
    if (first + row < rows) {
      piece = *reinterpret_cast<const uint4 *>(from + (size_t)(first + row) * width + column);
    }
    *reinterpret_cast<uint4 *>(&to[row][column]) = piece;
  }
}

template <typename T>
__device__ void attend(const T *q, const T *k, const T *v, T *out, int queries, int keys, int width, float scale) {
  using namespace nvcuda::wmma;
  __shared__ __align__(32) T some_keys[KEYS][LINE];
  __shared__ __align__(32) T some_values[KEYS][LINE];
  __shared__ __align__(32) T weights[QUERIES][WEIGHTS_LINE];
  __shared__ __align__(32) float sums[QUERIES][SUMS_LINE];
  // The queries first; once they are in registers, scores.
  __shared__ __align__(32) float scores[QUERIES][SCORES_LINE];
  static_assert(sizeof(scores) >= sizeof(T) * QUERIES * LINE, "queries and scores share a place");
  T(*some_queries)[LINE] = reinterpret_cast<T(*)[LINE]>(&scores[0][0]);

  const int first = blockIdx.x * QUERIES;
  const size_t head = blockIdx.y * HEAD;
  q += (size_t)blockIdx.z * queries * width + head;
  k += (size_t)blockIdx.z * keys * width + head;
  v += (size_t)blockIdx.z * keys * width + head;
  out += (size_t)blockIdx.z * queries * width + head;

  const int begin = threadIdx.x / 32 * ROWS;
  take_rows<T, QUERIES>(some_queries, q, first, queries, width);
  __syncthreads();
  fragment<matrix_a, 16, 16, 16, T, row_major> query[HEAD / 16];
  for (int i = 0; i < HEAD / 16; i++) {
    load_matrix_sync(query[i], &some_queries[begin][i * 16], LINE);
  }

  // Two threads have a query: each half of its keys, and of its sums.
  const int row = begin + threadIdx.x % 32 / 2;
  const int half = threadIdx.x % 2;
  float largest = -INFINITY;
  float total = 0.0f;
  for (int c = half * HEAD / 2; c < (half + 1) * HEAD / 2; c++) {
    sums[row][c] = 0.0f;
  }

  for (int key = 0; key < keys; key += KEYS) {
    // Nobody reads the keys, values and queries of before any more.
    __syncthreads();
    take_rows<T, KEYS>(some_keys, k, key, keys, width);
    take_rows<T, KEYS>(some_values, v, key, keys, width);
    __syncthreads();

    for (int j = 0; j < KEYS / 16; j++) {
      fragment<accumulator, 16, 16, 16, float> product;
      fill_fragment(product, 0.0f);
      for (int i = 0; i < HEAD / 16; i++) {
        fragment<matrix_b, 16, 16, 16, T, col_major> transposed;
        load_matrix_sync(transposed, &some_keys[j * 16][i * 16], LINE);
        mma_sync(product, query[i], transposed, product);
      }
      store_matrix_sync(&scores[begin][j * 16], product, SCORES_LINE, mem_row_major);
    }
    __syncwarp();

    float most = largest;
    for (int c = half * KEYS / 2; c < (half + 1) * KEYS / 2; c++) {
      if (key + c < keys) {
        most = fmaxf(most, scores[row][c] * scale);
      }
    }
    most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
    float sum = 0.0f;
    for (int c = half * KEYS / 2; c < (half + 1) * KEYS / 2; c++) {
      const float weight = key + c < keys ? __expf(scores[row][c] * scale - most) : 0.0f;
      weights[row][c] = T(weight);
      sum += weight;
    }
    sum += __shfl_xor_sync(0xffffffff, sum, 1);
    // At first 0: there is nothing to lessen.
    const float less = __expf(largest - most);
    largest = most;
    total = total * less + sum;
    for (int c = half * HEAD / 2; c < (half + 1) * HEAD / 2; c++) {
      sums[row][c] *= less;
    }
    __syncwarp();

    for (int n = 0; n < HEAD / 16; n++) {
      fragment<accumulator, 16, 16, 16, float> sum_of_values;
      load_matrix_sync(sum_of_values, &sums[begin][n * 16], SUMS_LINE, mem_row_major);
      for (int j = 0; j < KEYS / 16; j++) {
        fragment<matrix_a, 16, 16, 16, T, row_major> weight;
        fragment<matrix_b, 16, 16, 16, T, row_major> value;
        load_matrix_sync(weight, &weights[begin][j * 16], WEIGHTS_LINE);
        load_matrix_sync(value, &some_values[j * 16][n * 16], LINE);
        mma_sync(sum_of_values, weight, value, sum_of_values);
      }
      store_matrix_sync(&sums[begin][n * 16], sum_of_values, SUMS_LINE, mem_row_major);
    }
    __syncwarp();
  }

  if (first + row < queries) {
    for (int c = half * HEAD / 2; c < (half + 1) * HEAD / 2; c++) {
      out[(size_t)(first + row) * width + c] = T(sums[row][c] / total);
    }
  }
}

} // namespace

extern "C" __global__ void __launch_bounds__(THREADS)
    attention_f16(const __half *q, const __half *k, const __half *v, __half *out, int queries, int keys, int width, float scale) {
  attend<__half>(q, k, v, out, queries, keys, width, scale);
}

#if __CUDA_ARCH__ >= 800
extern "C" __global__ void __launch_bounds__(THREADS)
    attention_bf16(const __nv_bfloat16 *q, const __nv_bfloat16 *k, const __nv_bfloat16 *v, __nv_bfloat16 *out, int queries, int keys, int width,
                   float scale) {
  attend<__nv_bfloat16>(q, k, v, out, queries, keys, width, scale);
}
#endif
