// softmax(scale Q K^T) V within each text, by tiles of 64 queries and 64 keys (Dao 2023, FlashAttention-2).
// qkv is (T, stride): H query heads, then G key heads, then G value heads, K columns each. A tile's rows are tokens times the
// H / G query heads that share a key-value head.
struct Tile { int first_row, num_rows, text_start, text_length; };   // rows count tokens times group, within the text
struct AttentionShape {
    int num_heads, num_key_value_heads, head_dim, group;
    int stride, out_stride;   // columns of a row of qkv, and of the contexts
    float scale, softcap;     // no cap if it is 0
    int causal, window;       // no window if it is negative
};
// Eight columns of a head to shared memory, of which `there` exist. Heads whose size is no multiple of 8 are copied one by one.
DEVICE void copy_chunk(bf16 *to, const bf16 *from, int there, bool aligned) {
    if (aligned || there <= 0) { copy16(to, from, there > 0); return; }
    for (int i = 0; i < 8; i++) to[i] = i < there ? from[i] : (bf16)0;
}
DEVICE bool is_aligned(const AttentionShape &shape) { return (shape.head_dim | shape.stride | shape.out_stride) % 8 == 0; }

template <int K> DEVICE void attention(const bf16 *__restrict__ qkv, bf16 *__restrict__ out, float *__restrict__ logarithms, const Tile *__restrict__ tiles, AttentionShape shape) {
    constexpr int BM = 64, BN = 64, CHUNKS = K / 8;
    constexpr int SWIZZLE = CHUNKS % 8 == 0 ? 7 : CHUNKS % 4 == 0 ? 3 : CHUNKS % 2 == 0 ? 1 : 0;
    const Tile tile = tiles[blockIdx.x];
    const int key_value_head = blockIdx.y, group = shape.group, head_dim = shape.head_dim;
    const int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
    const size_t columns = shape.stride;
    const bool aligned = is_aligned(shape);
    const bf16 *text = qkv + (size_t)tile.text_start * columns;
    const bf16 *keys = text + (size_t)(shape.num_heads + key_value_head) * head_dim;
    const bf16 *values = keys + (size_t)shape.num_key_value_heads * head_dim;
    bf16 *q_shared = (bf16 *)dynamic_shared();
    bf16 *k_shared = q_shared + BM * K, *v_shared = k_shared + BN * K;
    auto at = [](bf16 *matrix, int row, int chunk) { return matrix + row * K + ((chunk ^ (row & SWIZZLE)) * 8); };
    auto copy_rows = [&](bf16 *to, const bf16 *from, int first, int end) {
        for (int i = thread; i < BN * CHUNKS; i += 128) {
            int row = i / CHUNKS, chunk = i % CHUNKS;
            const int there = first + row < end ? head_dim - chunk * 8 : 0;
            copy_chunk(at(to, row, chunk), there > 0 ? from + (size_t)(first + row) * columns + chunk * 8 : from, there, aligned);
        }
    };
    // Queries: row r is token (first_row + r) / group, head (first_row + r) % group.
    for (int i = thread; i < BM * CHUNKS; i += 128) {
        int row = i / CHUNKS, chunk = i % CHUNKS, place = tile.first_row + row;
        const int there = row < tile.num_rows ? head_dim - chunk * 8 : 0;
        const bf16 *from = text + (size_t)(place / group) * columns + (key_value_head * group + place % group) * head_dim + chunk * 8;
        copy_chunk(at(q_shared, row, chunk), there > 0 ? from : text, there, aligned);
    }
    commit();
    const int first_token = tile.first_row / group, last_token = (tile.first_row + tile.num_rows - 1) / group;
    int key_end = tile.text_length, key_begin = 0;
    if (shape.causal) key_end = min(key_end, last_token + 1);
    if (shape.window >= 0) {
        key_end = min(key_end, last_token + shape.window + 1);
        key_begin = max(0, first_token - shape.window) / BN * BN;
    }
    copy_rows(k_shared, keys, key_begin, key_end);
    commit();
    wait_for<1>();
    barrier();
    u32 q[K / 16][4];
    UNROLL for (int k = 0; k < K / 16; k++)
        load_matrices(q[k], at(q_shared, warp * 16 + lane % 16, k * 2 + lane / 16));
    const int rows[2] = {(tile.first_row + warp * 16 + g) / group, (tile.first_row + warp * 16 + g + 8) / group};
    float context[K / 8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
    const float to_base_2 = 1.4426950408889634f;
    for (int first_key = key_begin; first_key < key_end; first_key += BN) {
        copy_rows(v_shared, values, first_key, key_end);
        commit();
        wait_for<1>();   // the keys
        barrier();
        float scores[BN / 8][4] = {};
        UNROLL for (int k = 0; k < K / 16; k++)
            UNROLL for (int n = 0; n < BN / 16; n++) {
                u32 b[4];
                load_matrices(b, at(k_shared, n * 16 + lane % 8 + (lane / 16) * 8, k * 2 + (lane / 8) % 2));
                multiply(scores[2 * n], q[k], b[0], b[1]);
                multiply(scores[2 * n + 1], q[k], b[2], b[3]);
            }
        barrier();       // all have read the keys
        if (first_key + BN < key_end) copy_rows(k_shared, keys, first_key + BN, key_end);
        commit();
        // Masks are only needed where a tile crosses an edge.
        const bool whole = first_key + BN <= key_end && (!shape.causal || first_key + BN <= first_token + 1)
            && (shape.window < 0 || (first_key >= last_token - shape.window && first_key + BN - 1 <= first_token + shape.window));
        float peak[2] = {largest[0], largest[1]};
        UNROLL for (int n = 0; n < BN / 8; n++)
            UNROLL for (int i = 0; i < 4; i++) {
                float score = scores[n][i] * shape.scale;
                if (shape.softcap > 0) score = shape.softcap * tanhf(score / shape.softcap);
                score *= to_base_2;
                if (!whole) {
                    int key = first_key + n * 8 + 2 * t + i % 2, row = rows[i / 2];
                    bool seen = key < key_end && (!shape.causal || key <= row)
                        && (shape.window < 0 || (key >= row - shape.window && key <= row + shape.window));
                    if (!seen) score = -INFINITY;
                }
                scores[n][i] = score;
                peak[i / 2] = max(peak[i / 2], score);
            }
        UNROLL for (int half = 0; half < 2; half++) {
            peak[half] = max(peak[half], shuffle_xor(peak[half], 1));
            peak[half] = max(peak[half], shuffle_xor(peak[half], 2));
            // Of a row that has seen nothing yet everything stays 0.
            const float base = peak[half] == -INFINITY ? 0 : peak[half];
            const float kept = exp2_of(largest[half] - base);
            largest[half] = peak[half];
            total[half] *= kept;
            UNROLL for (int n = 0; n < K / 8; n++) {
                context[n][2 * half] *= kept;
                context[n][2 * half + 1] *= kept;
            }
            UNROLL for (int n = 0; n < BN / 8; n++)
                UNROLL for (int i = 0; i < 2; i++) {
                    scores[n][2 * half + i] = exp2_of(scores[n][2 * half + i] - base);
                    total[half] += scores[n][2 * half + i];
                }
        }
        wait_for<1>();   // the values
        barrier();
        UNROLL for (int k = 0; k < BN / 16; k++) {
            u32 p[4] = {pack(scores[2 * k][0], scores[2 * k][1]), pack(scores[2 * k][2], scores[2 * k][3]),
                        pack(scores[2 * k + 1][0], scores[2 * k + 1][1]), pack(scores[2 * k + 1][2], scores[2 * k + 1][3])};
            UNROLL for (int n = 0; n < K / 16; n++) {
                u32 b[4];
                load_transposed(b, at(v_shared, k * 16 + lane % 16, n * 2 + lane / 16));
                multiply(context[2 * n], p, b[0], b[1]);
                multiply(context[2 * n + 1], p, b[2], b[3]);
            }
        }
        barrier();       // all have read the values
    }
    UNROLL for (int half = 0; half < 2; half++) {
        total[half] += shuffle_xor(total[half], 1);
        total[half] += shuffle_xor(total[half], 2);
        const float scale = 1 / total[half];
        const int row = warp * 16 + g + 8 * half;
        if (row >= tile.num_rows) continue;
        const int place = tile.first_row + row;
        if (logarithms && t == 0)
            logarithms[(size_t)(tile.text_start + place / group) * shape.num_heads + key_value_head * group + place % group] = largest[half] + log2f(total[half]);
        bf16 *to = out + (size_t)(tile.text_start + place / group) * shape.out_stride + (key_value_head * group + place % group) * head_dim;
        UNROLL for (int n = 0; n < K / 8; n++)
            if (n * 8 + 2 * t < head_dim) *(u32 *)(to + n * 8 + 2 * t) = pack(context[n][2 * half] * scale, context[n][2 * half + 1] * scale);
    }
}
// `logarithms` (T, H), for the way back, may be null.
#define ATTENTION(K) KERNEL __launch_bounds__(128, (K) <= 128 ? 3 : 2) attention_##K(const bf16 *qkv, bf16 *out, float *logarithms, const Tile *tiles, AttentionShape shape) { attention<K>(qkv, out, logarithms, tiles, shape); }
ATTENTION(32) ATTENTION(64) ATTENTION(96) ATTENTION(128) ATTENTION(256)
