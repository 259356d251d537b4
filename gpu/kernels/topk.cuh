// The k largest of `count` scores, ties to the lower place: a block a (query, slice). Radix selection over the bits of the floats.
// Order: a float's bits, made to sort as unsigned numbers.
DEVICE u32 order_of(float x) {
    const u32 bits = bits_of(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
KERNEL __launch_bounds__(256) top_k(const float *scores, int num_columns, int width, int k, float *out_scores, u32 *out_rows, u32 first_row) {
    SHARED u32 histogram[256];
    SHARED u32 chosen, above, taken;
    const float *row = scores + (size_t)blockIdx.y * num_columns;
    const int begin = blockIdx.x * width, end = min(begin + width, num_columns);
    const size_t to = ((size_t)blockIdx.y * gridDim.x + blockIdx.x) * k;
    const int wanted = min(k, end - begin);
    u32 prefix = 0, mask = 0, left = wanted;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += blockDim.x) histogram[i] = 0;
        barrier();
        for (int i = begin + (int)threadIdx.x; i < end; i += blockDim.x) {
            u32 key = order_of(row[i]);
            if ((key & mask) == prefix) add_shared(&histogram[key >> shift & 255], 1);
        }
        barrier();
        if (threadIdx.x == 0) {
            u32 sum = 0; int digit = 255;
            while (sum + histogram[digit] < left) sum += histogram[digit--];
            chosen = digit; above = sum;
        }
        barrier();
        prefix |= chosen << shift; mask |= 255u << shift; left -= above;
        barrier();
    }
    // All keys above `prefix` are taken, and the first `left` of those that equal it.
    if (threadIdx.x == 0) { taken = 0; }
    barrier();
    for (int i = begin + (int)threadIdx.x; i < end; i += blockDim.x)
        if (order_of(row[i]) > prefix) {
            u32 place = add_shared(&taken, 1);
            out_scores[to + place] = row[i]; out_rows[to + place] = first_row + i;
        }
    barrier();
    // Ties, in the order of rows: one warp's worth at a time by one thread would do; here a thread counts for a stretch.
    const int stretch = (end - begin + blockDim.x - 1) / blockDim.x, mine = begin + threadIdx.x * stretch;
    u32 equal = 0;
    for (int i = mine; i < min(mine + stretch, end); i++) equal += order_of(row[i]) == prefix;
    histogram[threadIdx.x] = equal;   // 256 threads
    barrier();
    u32 before = 0;
    for (unsigned i = 0; i < threadIdx.x; i++) before += histogram[i];
    for (int i = mine; i < min(mine + stretch, end) && before < left; i++)
        if (order_of(row[i]) == prefix) { u32 place = wanted - left + before++; out_scores[to + place] = row[i]; out_rows[to + place] = first_row + i; }
    for (int i = wanted + (int)threadIdx.x; i < k; i += blockDim.x) { out_scores[to + i] = -INFINITY; out_rows[to + i] = 0xffffffffu; }
}
