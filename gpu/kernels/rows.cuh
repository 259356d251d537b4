// What is done to rows of activations: norms, sums, copies. A block has a row.
// Activations are f32 (T, columns), or bf16 (T, stride) whose columns beyond the first ones are zeros.

// Four elements of a row in f32.
DEVICE float4 four(const float *row, int i) { return ((const float4 *)row)[i]; }
DEVICE float4 four(const bf16 *row, int i) {
    const uint2 pair = ((const uint2 *)row)[i];
    return float4{low(pair.x), high(pair.x), low(pair.y), high(pair.y)};
}
DEVICE void put_four(float *row, int i, float4 v) { ((float4 *)row)[i] = v; }
DEVICE void put_four(bf16 *row, int i, float4 v) { ((uint2 *)row)[i] = uint2{pack(v.x, v.y), pack(v.z, v.w)}; }

// x / sqrt(mean(x^2) + eps) * weight, or with a bias (x - mean) / sqrt(variance + eps) * weight + bias. The result goes to
// `full`, to `half`, or to both. x and full may be one. Columns are a multiple of 4.
template <class T> DEVICE void norm(const T *x, int stride, const float *weight, const float *bias, float *full, bf16 *half, int half_stride, int columns, float eps) {
    const T *row = x + (size_t)blockIdx.x * stride;
    float mean = 0;
    if (bias) {
        float sum = 0;
        for (int i = threadIdx.x; i < columns / 4; i += blockDim.x) {
            const float4 v = four(row, i);
            sum += v.x + v.y + v.z + v.w;
        }
        mean = sum_over_block(sum) / columns;
    }
    float squares = 0;
    for (int i = threadIdx.x; i < columns / 4; i += blockDim.x) {
        float4 v = four(row, i);
        v = float4{v.x - mean, v.y - mean, v.z - mean, v.w - mean};
        squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    const float scale = rsqrtf(sum_over_block(squares) / columns + eps);
    for (int i = threadIdx.x; i < columns / 4; i += blockDim.x) {
        const float4 v = four(row, i), w = four(weight, i), b = bias ? four(bias, i) : float4{0, 0, 0, 0};
        const float4 out = {(v.x - mean) * scale * w.x + b.x, (v.y - mean) * scale * w.y + b.y, (v.z - mean) * scale * w.z + b.z, (v.w - mean) * scale * w.w + b.w};
        if (full) put_four(full + (size_t)blockIdx.x * columns, i, out);
        if (half) put_four(half + (size_t)blockIdx.x * half_stride, i, out);
    }
}
KERNEL __launch_bounds__(256) norm_full(const float *x, const float *weight, const float *bias, float *full, bf16 *half, int half_stride, int columns, float eps) {
    norm(x, columns, weight, bias, full, half, half_stride, columns, eps);
}
KERNEL __launch_bounds__(256) norm_half(const bf16 *x, int stride, const float *weight, const float *bias, float *full, bf16 *half, int half_stride, int columns, float eps) {
    norm(x, stride, weight, bias, full, half, half_stride, columns, eps);
}
// f32 (T, columns) -> bf16 (T, stride)
KERNEL __launch_bounds__(256) narrow(const float *x, bf16 *out, int columns, int stride) {
    const float *row = x + (size_t)blockIdx.x * columns;
    for (int i = threadIdx.x; i < stride; i += blockDim.x) out[(size_t)blockIdx.x * stride + i] = i < columns ? round_to_bf16(row[i]) : 0;
}
// bf16 (T, stride) -> f32 (T, columns)
KERNEL __launch_bounds__(256) widen_rows(const bf16 *x, float *out, int columns, int stride) {
    const bf16 *row = x + (size_t)blockIdx.x * stride;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) out[(size_t)blockIdx.x * columns + i] = widen(row[i]);
}
// x += y
KERNEL __launch_bounds__(256) add_full(float *x, const float *y, int columns) {
    const size_t row = (size_t)blockIdx.x * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) x[row + i] += y[row + i];
}
KERNEL __launch_bounds__(256) add_half(float *x, const bf16 *y, int columns, int stride) {
    const size_t row = (size_t)blockIdx.x * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) x[row + i] += widen(y[(size_t)blockIdx.x * stride + i]);
}
// A bias on every row.
KERNEL __launch_bounds__(256) add_bias_full(float *x, const float *bias, int columns) {
    for (int i = threadIdx.x; i < columns; i += blockDim.x) x[(size_t)blockIdx.x * columns + i] += bias[i];
}
KERNEL __launch_bounds__(256) add_bias_half(bf16 *x, const float *bias, int columns, int stride) {
    bf16 *row = x + (size_t)blockIdx.x * stride;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) row[i] = round_to_bf16(widen(row[i]) + bias[i]);
}
// Rows of an array, by number.
KERNEL __launch_bounds__(256) select_full(const float *x, const u32 *rows, float *out, int columns) {
    const float *row = x + (size_t)rows[blockIdx.x] * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) out[(size_t)blockIdx.x * columns + i] = row[i];
}
KERNEL __launch_bounds__(256) select_half(const bf16 *x, const u32 *rows, bf16 *out, int stride) {
    const bf16 *row = x + (size_t)rows[blockIdx.x] * stride;
    for (int i = threadIdx.x; i < stride; i += blockDim.x) out[(size_t)blockIdx.x * stride + i] = row[i];
}
// Rows of a bf16 table (V, columns) in f32: (T, columns).
KERNEL __launch_bounds__(256) embed(const bf16 *table, const u32 *ids, float *out, int columns) {
    const bf16 *row = table + (size_t)ids[blockIdx.x] * columns;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) out[(size_t)blockIdx.x * columns + i] = widen(row[i]);
}
// out (rows, stride) bf16 = 4-bit NormalFloat codes (rows, columns), two a byte, the first in the upper half; a block of 64 codes has
// one scale. A thread has an element; codes run over the rows, so the first of a matrix's rows has any place.
KERNEL __launch_bounds__(256) unpack_nf4(const u8 *codes, const float *scales, const float *values, bf16 *out, size_t first, int rows, int columns, int stride) {
    const size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (size_t)rows * stride) return;
    const int column = i % stride;
    if (column >= columns) { out[i] = 0; return; }
    const size_t place = first + i / stride * columns + column;
    const u8 byte = codes[place / 2];
    out[i] = round_to_bf16(values[place % 2 ? byte & 15 : byte >> 4] * scales[place / 64]);
}
