// The way back through attention, by tiles, the weights computed again from the scores and their logarithms (Dao 2023): one kernel
// for the gradient of the queries, one for those of keys and values.
template <int K> struct Tiles {
    static constexpr int CHUNKS = K / 8;
    static constexpr int SWIZZLE = CHUNKS % 8 == 0 ? 7 : CHUNKS % 4 == 0 ? 3 : CHUNKS % 2 == 0 ? 1 : 0;
    static __device__ __forceinline__ bf16 *at(bf16 *matrix, int row, int chunk) { return matrix + row * K + ((chunk ^ (row & SWIZZLE)) * 8); }
};
// What a score is after scale and cap, in base 2, and by how much that grows with it.
DEVICE float capped(float score, const AttentionShape &shape, float &slope) {
    score *= shape.scale;
    slope = shape.scale;
    if (shape.softcap > 0) {
        const float tanh = tanhf(score / shape.softcap);
        score = shape.softcap * tanh;
        slope *= 1 - tanh * tanh;
    }
    return score * 1.4426950408889634f;
}
DEVICE bool sees(const AttentionShape &shape, int query, int key) {
    return (!shape.causal || key <= query) && (shape.window < 0 || (key >= query - shape.window && key <= query + shape.window));
}
// sum_k dO O of each token and head: a warp has one. Contexts and their gradients -> (T, H).
KERNEL __launch_bounds__(256) attention_deltas(const bf16 *gradient, const bf16 *out, float *deltas, int count, AttentionShape shape) {
    const int item = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    const size_t first = (size_t)(item / shape.num_heads) * shape.out_stride + (item % shape.num_heads) * shape.head_dim;
    float sum = 0;
    if (item < count) for (int k = lane; k < shape.head_dim; k += 32) sum += widen(gradient[first + k]) * widen(out[first + k]);
    sum = sum_over_warp(sum);
    if (item < count && lane == 0) deltas[item] = sum;
}
template <int K> DEVICE void attention_queries(const bf16 *__restrict__ qkv, const bf16 *__restrict__ gradient, const float *__restrict__ logarithms, const float *__restrict__ deltas, bf16 *__restrict__ out, const Tile *__restrict__ tiles, AttentionShape shape) {
    constexpr int BN = 64, CHUNKS = K / 8;
    typedef Tiles<K> At;
    const Tile tile = tiles[blockIdx.x];
    const int key_value_head = blockIdx.y, group = shape.group, head_dim = shape.head_dim;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
    const size_t columns = shape.stride, width = shape.out_stride;
    const bool aligned = is_aligned(shape);
    const bf16 *text = qkv + (size_t)tile.text_start * columns, *slopes = gradient + (size_t)tile.text_start * width;
    const bf16 *keys = text + (size_t)(shape.num_heads + key_value_head) * head_dim, *values = keys + (size_t)shape.num_key_value_heads * head_dim;
    bf16 *k_shared = (bf16 *)dynamic_shared(), *v_shared = k_shared + BN * K;
    for (int i = thread; i < 64 * CHUNKS; i += 128) {   // queries and gradients, on their way to registers
        int row = i / CHUNKS, chunk = i % CHUNKS, place = tile.first_row + row;
        const int there = row < tile.num_rows ? head_dim - chunk * 8 : 0;
        size_t head = (size_t)(key_value_head * group + place % group) * head_dim + chunk * 8;
        copy_chunk(At::at(k_shared, row, chunk), there > 0 ? text + place / group * columns + head : text, there, aligned);
        copy_chunk(At::at(v_shared, row, chunk), there > 0 ? slopes + place / group * width + head : slopes, there, aligned);
    }
    commit();
    wait_for<0>();
    barrier();
    u32 q[K / 16][4], o[K / 16][4];
    UNROLL for (int k = 0; k < K / 16; k++) {
        load_matrices(q[k], At::at(k_shared, warp * 16 + lane % 16, k * 2 + lane / 16));
        load_matrices(o[k], At::at(v_shared, warp * 16 + lane % 16, k * 2 + lane / 16));
    }
    barrier();
    int rows[2]; float logarithm[2], delta[2];
    UNROLL for (int half = 0; half < 2; half++) {
        const int row = warp * 16 + g + 8 * half, place = tile.first_row + min(row, tile.num_rows - 1);
        const size_t item = (size_t)(tile.text_start + place / group) * shape.num_heads + key_value_head * group + place % group;
        rows[half] = place / group; logarithm[half] = logarithms[item]; delta[half] = deltas[item];
    }
    const int first_token = tile.first_row / group, last_token = (tile.first_row + tile.num_rows - 1) / group;
    int key_end = tile.text_length, key_begin = 0;
    if (shape.causal) key_end = min(key_end, last_token + 1);
    if (shape.window >= 0) { key_end = min(key_end, last_token + shape.window + 1); key_begin = max(0, first_token - shape.window); }
    float sum[K / 8][4] = {};
    for (int first_key = key_begin; first_key < key_end; first_key += BN) {
        for (int i = thread; i < BN * CHUNKS; i += 128) {
            int row = i / CHUNKS, chunk = i % CHUNKS;
            const int there = first_key + row < key_end ? head_dim - chunk * 8 : 0;
            copy_chunk(At::at(k_shared, row, chunk), there > 0 ? keys + (size_t)(first_key + row) * columns + chunk * 8 : keys, there, aligned);
            copy_chunk(At::at(v_shared, row, chunk), there > 0 ? values + (size_t)(first_key + row) * columns + chunk * 8 : values, there, aligned);
        }
        commit();
        wait_for<0>();
        barrier();
        float scores[BN / 8][4] = {}, parts[BN / 8][4] = {};
        UNROLL for (int k = 0; k < K / 16; k++)
            UNROLL for (int n = 0; n < BN / 16; n++) {
                u32 b[4];
                load_matrices(b, At::at(k_shared, n * 16 + lane % 8 + (lane / 16) * 8, k * 2 + (lane / 8) % 2));
                multiply(scores[2 * n], q[k], b[0], b[1]);
                multiply(scores[2 * n + 1], q[k], b[2], b[3]);
                load_matrices(b, At::at(v_shared, n * 16 + lane % 8 + (lane / 16) * 8, k * 2 + (lane / 8) % 2));
                multiply(parts[2 * n], o[k], b[0], b[1]);
                multiply(parts[2 * n + 1], o[k], b[2], b[3]);
            }
        UNROLL for (int n = 0; n < BN / 8; n++)
            UNROLL for (int i = 0; i < 4; i++) {
                const int key = first_key + n * 8 + 2 * t + i % 2;
                float slope;
                const float score = capped(scores[n][i], shape, slope);
                const bool seen = key < key_end && sees(shape, rows[i / 2], key);
                scores[n][i] = seen ? exp2_of(score - logarithm[i / 2]) * (parts[n][i] - delta[i / 2]) * slope : 0;
            }
        UNROLL for (int k = 0; k < BN / 16; k++) {
            u32 p[4] = {pack(scores[2 * k][0], scores[2 * k][1]), pack(scores[2 * k][2], scores[2 * k][3]), pack(scores[2 * k + 1][0], scores[2 * k + 1][1]), pack(scores[2 * k + 1][2], scores[2 * k + 1][3])};
            UNROLL for (int n = 0; n < K / 16; n++) {
                u32 b[4];
                load_transposed(b, At::at(k_shared, k * 16 + lane % 16, n * 2 + lane / 16));
                multiply(sum[2 * n], p, b[0], b[1]);
                multiply(sum[2 * n + 1], p, b[2], b[3]);
            }
        }
        barrier();
    }
    UNROLL for (int half = 0; half < 2; half++) {
        const int row = warp * 16 + g + 8 * half, place = tile.first_row + row;
        if (row >= tile.num_rows) continue;
        bf16 *to = out + (size_t)(tile.text_start + place / group) * columns + (size_t)(key_value_head * group + place % group) * head_dim;
        UNROLL for (int n = 0; n < K / 8; n++)
            if (n * 8 + 2 * t < head_dim) *(u32 *)(to + n * 8 + 2 * t) = pack(sum[n][2 * half], sum[n][2 * half + 1]);
    }
}
// Here a tile is of keys: first_row is a token of the text, num_rows their number.
template <int K> DEVICE void attention_keys(const bf16 *__restrict__ qkv, const bf16 *__restrict__ gradient, const float *__restrict__ logarithms, const float *__restrict__ deltas, bf16 *__restrict__ out, const Tile *__restrict__ tiles, AttentionShape shape) {
    constexpr int BM = 64, CHUNKS = K / 8;
    typedef Tiles<K> At;
    const Tile tile = tiles[blockIdx.x];
    const int key_value_head = blockIdx.y, group = shape.group, head_dim = shape.head_dim;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
    const size_t columns = shape.stride, width = shape.out_stride;
    const bool aligned = is_aligned(shape);
    const bf16 *text = qkv + (size_t)tile.text_start * columns, *slopes = gradient + (size_t)tile.text_start * width;
    const size_t key_column = (size_t)(shape.num_heads + key_value_head) * head_dim, value_column = key_column + (size_t)shape.num_key_value_heads * head_dim;
    bf16 *k_shared = (bf16 *)dynamic_shared(), *v_shared = k_shared + 64 * K, *q_shared = v_shared + 64 * K, *o_shared = q_shared + BM * K;
    float *of_rows = (float *)(o_shared + BM * K);   // logarithms, then deltas
    for (int i = thread; i < 64 * CHUNKS; i += 128) {
        int row = i / CHUNKS, chunk = i % CHUNKS;
        const int there = row < tile.num_rows ? head_dim - chunk * 8 : 0;
        const bf16 *from = text + (size_t)(tile.first_row + row) * columns + chunk * 8;
        copy_chunk(At::at(k_shared, row, chunk), there > 0 ? from + key_column : text, there, aligned);
        copy_chunk(At::at(v_shared, row, chunk), there > 0 ? from + value_column : text, there, aligned);
    }
    commit();
    const int last_key = tile.first_row + tile.num_rows - 1;
    int begin = 0, end = tile.text_length;
    if (shape.causal) begin = tile.first_row;
    if (shape.window >= 0) { begin = max(begin, tile.first_row - shape.window); end = min(end, last_key + shape.window + 1); }
    const int keys[2] = {tile.first_row + warp * 16 + g, tile.first_row + warp * 16 + g + 8};
    float of_keys[K / 8][4] = {}, of_values[K / 8][4] = {};
    for (int first = begin * group; first < end * group; first += BM) {
        for (int i = thread; i < BM * CHUNKS; i += 128) {
            int row = i / CHUNKS, chunk = i % CHUNKS, place = first + row;
            const int there = place < end * group ? head_dim - chunk * 8 : 0;
            size_t head = (size_t)(key_value_head * group + place % group) * head_dim + chunk * 8;
            copy_chunk(At::at(q_shared, row, chunk), there > 0 ? text + place / group * columns + head : text, there, aligned);
            copy_chunk(At::at(o_shared, row, chunk), there > 0 ? slopes + place / group * width + head : slopes, there, aligned);
        }
        commit();
        if (thread < BM) {
            const int place = min(first + thread, end * group - 1);
            const size_t item = (size_t)(tile.text_start + place / group) * shape.num_heads + key_value_head * group + place % group;
            of_rows[thread] = logarithms[item];
            of_rows[BM + thread] = deltas[item];
        }
        wait_for<0>();
        barrier();
        float scores[BM / 8][4] = {}, parts[BM / 8][4] = {};
        UNROLL for (int k = 0; k < K / 16; k++) {
            u32 a[4], v[4];
            load_matrices(a, At::at(k_shared, warp * 16 + lane % 16, k * 2 + lane / 16));
            load_matrices(v, At::at(v_shared, warp * 16 + lane % 16, k * 2 + lane / 16));
            UNROLL for (int n = 0; n < BM / 16; n++) {
                u32 b[4];
                load_matrices(b, At::at(q_shared, n * 16 + lane % 8 + (lane / 16) * 8, k * 2 + (lane / 8) % 2));
                multiply(scores[2 * n], a, b[0], b[1]);
                multiply(scores[2 * n + 1], a, b[2], b[3]);
                load_matrices(b, At::at(o_shared, n * 16 + lane % 8 + (lane / 16) * 8, k * 2 + (lane / 8) % 2));
                multiply(parts[2 * n], v, b[0], b[1]);
                multiply(parts[2 * n + 1], v, b[2], b[3]);
            }
        }
        UNROLL for (int n = 0; n < BM / 8; n++)
            UNROLL for (int i = 0; i < 4; i++) {
                const int row = n * 8 + 2 * t + i % 2;
                float slope;
                const float score = capped(scores[n][i], shape, slope);
                const bool seen = first + row < end * group && keys[i / 2] <= last_key && sees(shape, (first + row) / group, keys[i / 2]);
                const float weight = seen ? exp2_of(score - of_rows[row]) : 0;
                scores[n][i] = weight;
                parts[n][i] = seen ? weight * (parts[n][i] - of_rows[BM + row]) * slope : 0;
            }
        UNROLL for (int k = 0; k < BM / 16; k++) {
            u32 p[4] = {pack(scores[2 * k][0], scores[2 * k][1]), pack(scores[2 * k][2], scores[2 * k][3]), pack(scores[2 * k + 1][0], scores[2 * k + 1][1]), pack(scores[2 * k + 1][2], scores[2 * k + 1][3])};
            u32 d[4] = {pack(parts[2 * k][0], parts[2 * k][1]), pack(parts[2 * k][2], parts[2 * k][3]), pack(parts[2 * k + 1][0], parts[2 * k + 1][1]), pack(parts[2 * k + 1][2], parts[2 * k + 1][3])};
            UNROLL for (int n = 0; n < K / 16; n++) {
                u32 b[4];
                load_transposed(b, At::at(o_shared, k * 16 + lane % 16, n * 2 + lane / 16));
                multiply(of_values[2 * n], p, b[0], b[1]);
                multiply(of_values[2 * n + 1], p, b[2], b[3]);
                load_transposed(b, At::at(q_shared, k * 16 + lane % 16, n * 2 + lane / 16));
                multiply(of_keys[2 * n], d, b[0], b[1]);
                multiply(of_keys[2 * n + 1], d, b[2], b[3]);
            }
        }
        barrier();
    }
    wait_for<0>();
    UNROLL for (int half = 0; half < 2; half++) {
        if (keys[half] > last_key) continue;
        bf16 *to = out + (size_t)(tile.text_start + keys[half]) * columns;
        UNROLL for (int n = 0; n < K / 8; n++)
            if (n * 8 + 2 * t < head_dim) {
                *(u32 *)(to + key_column + n * 8 + 2 * t) = pack(of_keys[n][2 * half], of_keys[n][2 * half + 1]);
                *(u32 *)(to + value_column + n * 8 + 2 * t) = pack(of_values[n][2 * half], of_values[n][2 * half + 1]);
            }
    }
}
#define BACKWARD(K) \
    KERNEL __launch_bounds__(128) attention_queries_##K(const bf16 *qkv, const bf16 *gradient, const float *logarithms, const float *deltas, bf16 *out, const Tile *tiles, AttentionShape shape) { attention_queries<K>(qkv, gradient, logarithms, deltas, out, tiles, shape); } \
    KERNEL __launch_bounds__(128) attention_keys_##K(const bf16 *qkv, const bf16 *gradient, const float *logarithms, const float *deltas, bf16 *out, const Tile *tiles, AttentionShape shape) { attention_keys<K>(qkv, gradient, logarithms, deltas, out, tiles, shape); }
BACKWARD(32) BACKWARD(64) BACKWARD(96) BACKWARD(128)
