// The kernel of kernels/attention.cu on the processor, against the definition in double precision.

#include "../../models/nn/kernels/attention.cu"

#include <cstdio>
#include <random>
#include <thread>
#include <vector>

struct Sizes {
  int batch, heads, queries, keys;
  double spread;
};

template <class T, class Kernel> std::vector<T> emulate(Kernel kernel, const std::vector<T> (&qkv)[3], const Sizes &sizes) {
  const int width = sizes.heads * HEAD;
  // What is not written stays not a number.
  std::vector<T> out(qkv[0].size(), T(NAN));
  for (int z = 0; z < sizes.batch; z++) {
    for (int y = 0; y < sizes.heads; y++) {
      for (int x = 0; x < (sizes.queries + QUERIES - 1) / QUERIES; x++) {
        block = std::make_unique<Block>();
        std::vector<std::thread> threads;
        for (int i = 0; i < THREADS; i++) {
          threads.emplace_back([&, i] {
            threadIdx = {i, 0, 0};
            blockIdx = {x, y, z};
            kernel(qkv[0].data(), qkv[1].data(), qkv[2].data(), out.data(), sizes.queries, sizes.keys, width, 0.125f);
          });
        }
        for (std::thread &thread : threads) {
          thread.join();
        }
      }
    }
  }
  return out;
}

// One number of the result.
template <class T> double defined(const std::vector<T> (&qkv)[3], const Sizes &sizes, int z, int head, int query, int column) {
  const int width = sizes.heads * HEAD;
  auto at = [&](int which, int rows, int row, int c) {
    return (double)(float)qkv[which][((size_t)z * rows + row) * width + head * HEAD + c];
  };
  std::vector<double> scores(sizes.keys, 0.0);
  double most = -INFINITY, total = 0, sum = 0;
  for (int key = 0; key < sizes.keys; key++) {
    for (int c = 0; c < HEAD; c++) {
      scores[key] += 0.125 * at(0, sizes.queries, query, c) * at(1, sizes.keys, key, c);
    }
    most = fmax(most, scores[key]);
  }
  for (int key = 0; key < sizes.keys; key++) {
    const double weight = exp(scores[key] - most);
    total += weight;
    sum += weight * at(2, sizes.keys, key, column);
  }
  return sum / total;
}

// Whether the worst difference is what rounding to the type explains.
template <class T, class Kernel> bool holds(const char *type, Kernel kernel, const Sizes &sizes, double rounding) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  const int rows[] = {sizes.queries, sizes.keys, sizes.keys};
  std::vector<T> qkv[3];
  for (int which = 0; which < 3; which++) {
    for (int i = 0; i < sizes.batch * rows[which] * sizes.heads * HEAD; i++) {
      qkv[which].push_back(T((float)(normal(random) * (which < 2 ? sizes.spread : 1))));
    }
  }
  const std::vector<T> out = emulate<T>(kernel, qkv, sizes);
  double worst = 0;
  bool good = true;
  size_t i = 0;
  for (int z = 0; z < sizes.batch; z++) {
    for (int query = 0; query < sizes.queries; query++) {
      for (int column = 0; column < sizes.heads * HEAD; column++, i++) {
        const double apart = fabs((float)out[i] - defined(qkv, sizes, z, column / HEAD, query, column % HEAD));
        worst = fmax(worst, apart);
        // Not of what is no number.
        good &= apart <= 4 * rounding;
      }
    }
  }
  printf("%s %s: batch %d, %d heads, %d queries, %d keys, spread %g: worst difference %g\n", good ? "ok    " : "FAILED", type, sizes.batch,
         sizes.heads, sizes.queries, sizes.keys, sizes.spread, worst);
  return good;
}

int main() {
  // Whole pieces and parts of them, a key alone, scores far apart.
  const Sizes all[] = {{1, 1, 64, 32, 1}, {2, 2, 70, 77, 1}, {1, 2, 5, 1, 1}, {1, 1, 130, 200, 4}, {1, 1, 64, 33, 8}};
  bool good = true;
  for (const Sizes &sizes : all) {
    good &= holds<__half>("float16", attention_f16, sizes, 1.0 / 2048);
    good &= holds<__nv_bfloat16>("bfloat16", attention_bf16, sizes, 1.0 / 256);
  }
  return good ? 0 : 1;
}
