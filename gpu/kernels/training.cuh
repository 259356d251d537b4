// What training needs besides products, attention and MLPs: the way back through norms, sums over rows, dropout.

// The gradient of norms by their input, in place of that by their output: x and gradient are (T, columns), and each of the heads that
// begin at column `first`, `length` columns each, is normed by itself. A block has a head of a row. `centered`: the norm takes the
// mean away. `terms` (T, heads, length), if not null, gets what the gradient of the weight is the sum of.
KERNEL __launch_bounds__(256) norm_backward(const float *x, const float *weight, float *gradient, float *terms, int columns, int first, int length, int centered, float eps) {
    const size_t start = (size_t)blockIdx.x * columns + first + (size_t)blockIdx.y * length;
    const float *row = x + start;
    float *slopes = gradient + start;
    float mean = 0, squares = 0;
    if (centered) {
        for (int i = threadIdx.x; i < length; i += blockDim.x) mean += row[i];
        mean = sum_over_block(mean) / length;
    }
    for (int i = threadIdx.x; i < length; i += blockDim.x) squares += (row[i] - mean) * (row[i] - mean);
    const float scale = rsqrtf(sum_over_block(squares) / length + eps);
    float along = 0, sum = 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x) {
        const float term = slopes[i] * (row[i] - mean) * scale;
        if (terms) terms[((size_t)blockIdx.x * gridDim.y + blockIdx.y) * length + i] = term;
        along += term * weight[i];
        sum += slopes[i] * weight[i];
    }
    along = sum_over_block(along) / length;
    sum = centered ? sum_over_block(sum) / length : 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x)
        slopes[i] = scale * (slopes[i] * weight[i] - sum - (row[i] - mean) * scale * along);
}
// Sums over rows, of the columns from `first` on: out (gridDim.y, columns) has those of so many rows each, in an order that depends on
// the sizes alone. A block has 32 columns, a warp every eighth row. `add`: they are added to what is there.
DEVICE float in_full(float x) { return x; }
DEVICE float in_full(bf16 x) { return widen(x); }
template <class T> DEVICE void column_sums(const T *x, float *out, int rows, int stride, int first, int columns, int rows_each, int add) {
    SHARED float parts[8][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, column = blockIdx.x * 32 + lane;
    const int begin = blockIdx.y * rows_each, end = min(begin + rows_each, rows);
    float sum = 0;
    if (column < columns) for (int row = begin + warp; row < end; row += 8) sum += in_full(x[(size_t)row * stride + first + column]);
    parts[warp][lane] = sum;
    barrier();
    if (warp == 0 && column < columns) {
        sum = 0;
        for (int i = 0; i < 8; i++) sum += parts[i][lane];
        float *to = out + (size_t)blockIdx.y * columns + column;
        *to = add ? *to + sum : sum;
    }
}
KERNEL __launch_bounds__(256) column_sums_full(const float *x, float *out, int rows, int stride, int first, int columns, int rows_each, int add) {
    column_sums(x, out, rows, stride, first, columns, rows_each, add);
}
KERNEL __launch_bounds__(256) column_sums_half(const bf16 *x, float *out, int rows, int stride, int first, int columns, int rows_each, int add) {
    column_sums(x, out, rows, stride, first, columns, rows_each, add);
}
// Dropout in place: whether element i of (T, columns) is kept depends on i and the key alone, as the host decides it, too. `scale`
// multiplies what is kept.
struct Dropout { u32 low_key, high_key, threshold; float scale; };
DEVICE bool keeps(u32 index, const Dropout &with) {
    u32 x = index ^ with.low_key;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return (x ^ x >> 16) + with.high_key >= with.threshold;
}
KERNEL __launch_bounds__(256) dropout_full(float *x, int columns, int stride, Dropout with) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;   // a row has blockIdx.x
    if (i >= columns) return;
    const size_t place = (size_t)blockIdx.x * stride + i;
    x[place] = keeps(blockIdx.x * columns + i, with) ? x[place] * with.scale : 0;
}
KERNEL __launch_bounds__(256) dropout_half(bf16 *x, int columns, int stride, Dropout with) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;   // a row has blockIdx.x
    if (i >= columns) return;
    const size_t place = (size_t)blockIdx.x * stride + i;
    x[place] = keeps(blockIdx.x * columns + i, with) ? round_to_bf16(widen(x[place]) * with.scale) : 0;
}
