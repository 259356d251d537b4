// One vector for each text. Numbers as in Rust's `secateur_gpu::Pool`.
enum { FIRST, LAST, MEAN, WEIGHTED_MEAN };
struct Text { int start, length; };
// (T, columns) f32 -> (B, columns): a block has 256 columns of a text. A mean leaves out the first `skipped` tokens, but never all.
KERNEL __launch_bounds__(256) pool(const float *x, const Text *texts, float *out, int columns, int pooling, int skipped) {
    const int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    const Text text = texts[blockIdx.x];
    const float *at = x + (size_t)text.start * columns + column;
    float result;
    if (pooling == FIRST || pooling == LAST) {
        result = at[pooling == FIRST ? 0 : (size_t)(text.length - 1) * columns];
    } else {
        const int first = min(skipped, text.length - 1);
        float sum = 0, total = 0;
        for (int token = first; token < text.length; token++) {
            const float weight = pooling == MEAN ? 1.f : (float)(token + 1);
            total += weight;
            sum += weight * at[(size_t)token * columns];
        }
        result = sum / total;
    }
    out[(size_t)blockIdx.x * columns + column] = result;
}
// The gradient of `pool`: a block has a token.
KERNEL __launch_bounds__(256) pool_backward(const float *gradient, const Text *texts, const u32 *text_of_token, float *out, int columns, int pooling, int skipped) {
    const u32 number = text_of_token[blockIdx.x];
    const Text text = texts[number];
    const int token = (int)blockIdx.x - text.start, first = min(skipped, text.length - 1);
    float weight = 0;
    if (pooling == FIRST) weight = token == 0;
    else if (pooling == LAST) weight = token == text.length - 1;
    else if (token >= first) {
        const float n = text.length, f = first;
        weight = pooling == MEAN ? 1 / (n - f) : (token + 1) / (0.5f * (n * (n + 1) - f * (f + 1)));
    }
    for (int i = threadIdx.x; i < columns; i += blockDim.x) out[(size_t)blockIdx.x * columns + i] = weight * gradient[(size_t)number * columns + i];
}
// The first `kept` columns of each row, scaled to length 1; a row of zeros stays. (B, columns) -> (B, kept)
KERNEL __launch_bounds__(256) unit_rows(const float *x, float *out, int columns, int kept) {
    const float *row = x + (size_t)blockIdx.x * columns;
    float squares = 0;
    for (int i = threadIdx.x; i < kept; i += blockDim.x) squares += row[i] * row[i];
    const float length = sqrtf(sum_over_block(squares)), scale = length > 0 ? 1 / length : 1;
    for (int i = threadIdx.x; i < kept; i += blockDim.x) out[(size_t)blockIdx.x * kept + i] = row[i] * scale;
}
