// x W^T for at most 8 N tokens, where reading W is all the work: each weight is read once, 16 bytes at a time. A block has two
// tiles of 16 rows of W; its warps share the depth. mma's k may be any permutation, the same for both, so lane t of a group of
// four has 8 elements that lie together.
// NORMED: x is the f32 residual stream and its RMS norm is taken on the way: products are of x * norm, and scaled by
// 1 / sqrt(mean(x^2) + eps) at the end.
enum { STORE, ADD, GATE, ACTIVATE };   // bf16 out; f32 out added; act(first half) * second half; act
struct SkinnyShape {
    int num_tokens, depth, x_stride, weight_stride;
    int rows;   // of `out`; for GATE the weight has twice as many
    int out_stride, form, activation;
    float eps;
};
template <int N, bool NORMED> DEVICE void skinny(const void *__restrict__ x, const float *__restrict__ norm, const bf16 *__restrict__ weight, const float *__restrict__ bias, void *__restrict__ out, SkinnyShape shape) {
    constexpr int WARPS = 8, UNROLLED = 2;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const bool gated = shape.form == GATE;
    const int first = blockIdx.x * (gated ? 16 : 32), second = gated ? first + shape.rows : first + 16, last = (gated ? 2 : 1) * shape.rows - 1;
    const bf16 *rows[4];
    UNROLL for (int i = 0; i < 4; i++) {
        const int start = i < 2 ? first : second, end = gated && i < 2 ? shape.rows - 1 : last;
        rows[i] = weight + (size_t)min(start + g + 8 * (i % 2), end) * shape.weight_stride;
    }
    float sums[2][N][4] = {}, squares[N] = {};
    for (int begin = warp * 32 * UNROLLED; begin < shape.depth; begin += WARPS * 32 * UNROLLED) {
        uint4 a[UNROLLED][4];
        UNROLL for (int u = 0; u < UNROLLED; u++) {
            const int k = begin + u * 32 + 8 * t;
            UNROLL for (int i = 0; i < 4; i++) a[u][i] = k < shape.depth ? load_streaming(rows[i] + k) : uint4{0, 0, 0, 0};
        }
        UNROLL for (int u = 0; u < UNROLLED; u++) {
            const int k = begin + u * 32 + 8 * t;
            UNROLL for (int n = 0; n < N; n++) {
                const int token = n * 8 + g;
                uint4 b = {0, 0, 0, 0};
                if (token < shape.num_tokens && k < shape.depth) {
                    if (NORMED) {
                        const float4 *from = (const float4 *)((const float *)x + (size_t)token * shape.x_stride + k), *scales = (const float4 *)(norm + k);
                        const float4 v = from[0], w = from[1], m = scales[0], o = scales[1];
                        squares[n] += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w + w.x * w.x + w.y * w.y + w.z * w.z + w.w * w.w;
                        b = uint4{pack(v.x * m.x, v.y * m.y), pack(v.z * m.z, v.w * m.w), pack(w.x * o.x, w.y * o.y), pack(w.z * o.z, w.w * o.w)};
                    } else {
                        b = *(const uint4 *)((const bf16 *)x + (size_t)token * shape.x_stride + k);
                    }
                }
                UNROLL for (int tile = 0; tile < 2; tile++) {
                    const uint4 p = a[u][2 * tile], q = a[u][2 * tile + 1];
                    const u32 one[4] = {p.x, q.x, p.y, q.y}, two[4] = {p.z, q.z, p.w, q.w};
                    multiply(sums[tile][n], one, b.x, b.y);
                    multiply(sums[tile][n], two, b.z, b.w);
                }
            }
        }
    }
    float *partial = (float *)dynamic_shared();   // (WARPS, 2, N, 16, 8)
    float *partial_squares = partial + WARPS * 2 * N * 128;   // (WARPS, 8 N)
    UNROLL for (int n = 0; n < N; n++) {
        UNROLL for (int tile = 0; tile < 2; tile++)
            UNROLL for (int i = 0; i < 4; i++)
                partial[(((warp * 2 + tile) * N + n) * 16 + g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sums[tile][n][i];
        if (NORMED) {
            squares[n] += shuffle_xor(squares[n], 1);
            squares[n] += shuffle_xor(squares[n], 2);
            if (t == 0) partial_squares[warp * 8 * N + n * 8 + g] = squares[n];
        }
    }
    barrier();
    auto total = [&](int tile, int n, int row, int column) {
        float sum = 0;
        UNROLL for (int w = 0; w < WARPS; w++) sum += partial[(((w * 2 + tile) * N + n) * 16 + row) * 8 + column];
        return sum;
    };
    for (int i = threadIdx.x; i < (gated ? 1 : 2) * N * 128; i += WARPS * 32) {
        const int tile = i / (N * 128), n = i / 128 % N, row = i / 8 % 16, token = n * 8 + i % 8, column = first + tile * 16 + row;
        if (token >= shape.num_tokens || column >= shape.rows) continue;
        float scale = 1;
        if (NORMED) {
            float sum = 0;
            for (int w = 0; w < WARPS; w++) sum += partial_squares[w * 8 * N + token];
            scale = rsqrtf(sum / shape.depth + shape.eps);
        }
        float value = total(tile, n, row, i % 8) * scale + (bias ? bias[column] : 0);
        const size_t to = (size_t)token * shape.out_stride + column;
        if (shape.form == ADD) { ((float *)out)[to] += value; continue; }
        if (shape.form != STORE) value = activate(value, shape.activation);
        if (gated) value *= total(1, n, row, i % 8) * scale + (bias ? bias[shape.rows + column] : 0);
        ((bf16 *)out)[to] = round_to_bf16(value);
    }
}
#define SKINNY(N) \
    KERNEL __launch_bounds__(256) skinny_##N(const void *x, const float *norm, const bf16 *weight, const float *bias, void *out, SkinnyShape shape) { skinny<N, false>(x, norm, weight, bias, out, shape); } \
    KERNEL __launch_bounds__(256) skinny_normed_##N(const void *x, const float *norm, const bf16 *weight, const float *bias, void *out, SkinnyShape shape) { skinny<N, true>(x, norm, weight, bias, out, shape); }
SKINNY(1) SKINNY(2)
