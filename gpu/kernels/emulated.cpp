// All kernels as functions of a CPU, found by name.

#include "kernels.cu"
#include <utility>

template <class... A, size_t... I> static void call(void (*kernel)(A...), void **args, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A> *)args[I]...);
}
template <class... A> static void call(void (*kernel)(A...), void **args) { call(kernel, args, std::index_sequence_for<A...>()); }

// 1 if there is no kernel of this name.
extern "C" int secateur_gpu_emulate(const char *name, const unsigned *grid, unsigned threads, size_t shared, void **args) {
#define NAME(kernel) if (!strcmp(name, #kernel)) { run_blocks({grid[0], grid[1], grid[2]}, threads, shared, [&] { call(kernel, args); }); return 0; }
#include "names.h"
#undef NAME
    return 1;
}
