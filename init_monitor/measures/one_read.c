/*
 * Everything the monitor asks of a tensor on the CPU, in one read of memory.
 *
 * The tensor is gone through in pieces that stay in the first-level cache: what is asked of a piece (moments, elements
 * beyond the knee, units) are short loops over it one after the other, which a compiler vectorises; memory is read once.
 *
 * Moments are sums of x - pivot and of its square in double, where the pivot is one of the elements: as long as it is
 * no further from the mean than the elements are, nothing is lost when the square of the mean is taken off (Chan, Golub
 * and LeVeque 1983, "shifted data"). An element that lies far out widens the variance by as much. Squares of
 * differences of float32 cannot leave double, so neither 1e-30 nor 1e30 needs a second way; float64 may, and then says so.
 *
 * Needs C11 and nothing else: no Python, no torch. Compiled by compiling.py, called by native.py.
 */
#ifndef REAL

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef WITH_THREADS
#include <pthread.h>
#endif

/* Independent sums: a register of AVX-512 (two of AVX2, four of NEON), so that additions do not wait for one another. */
#define LANES 16

/*
 * A large tensor is read in parts, which several threads may share. How it is split depends on its shape alone, and the
 * parts are put together in their order: so the numbers are the same however many threads there are, and without any.
 */
#define PART ((int64_t)1 << 18) /* elements: a part takes tens of microseconds, a thread ten to start */
#define MOST_PARTS 64           /* each has sums of units of its own */
#define PER_THREAD 2            /* parts that are worth a thread */

/* Elements of a piece: 16 kB of float32, half of the smallest first-level cache that is about. */
#define PIECE 4096

/* One function compiled for each of these, and chosen when the library is loaded. Elsewhere (NEON) the baseline does. */
#ifdef WITH_CLONES
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_CPU
#endif

/* The clones differ in what is inlined into them only. */
#define INLINED static inline __attribute__((always_inline))

/* These three lists are also in native.py and partials.py. */
enum format { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 };
enum order { NO_UNITS, UNITS_INNERMOST, POSITIONS_INNERMOST };
enum column { COUNT, MEAN, M2, LOW, HIGH, ZEROS, NONFINITE, SATURATED, WIDTH };

/* What is asked of every tensor. */
struct plan {
    int64_t format;    /* of the elements */
    int64_t elements;  /* of one tensor */
    int64_t zeros;     /* count exact zeros? */
    int64_t knee;      /* count |x - centre| >= reach? */
    int64_t order;     /* how units lie in memory */
    int64_t units;     /* how many */
    int64_t positions; /* of one unit in one sample, next to each other in the order above */
    int64_t squares;   /* sum the squared mean signals? */
    int64_t stride;    /* every which element is read; 1 for all */
    double centre, reach;
};

/* Where the answers for one tensor go. */
struct answer {
    double *row;          /* [WIDTH] */
    double *sums;         /* [units] */
    double *squares;      /* [1] */
    void *highs, *lows;   /* [units] of the working format, or NULL */
    double *signal;       /* [units] to work in */
    int more;             /* sums, squares and extremes hold something that this is added to */
};

/* Threads that may share a tensor. Written between readings only. */
static int64_t most_threads = 1;

/* How many elements a part has: whole samples, if units are asked for. */
static int64_t part_size(const struct plan *plan)
{
    int64_t sample = 1, least = (plan->elements + MOST_PARTS - 1) / MOST_PARTS;
    if (plan->order != NO_UNITS)
        sample = plan->units * (plan->positions > 1 ? plan->positions : 1);
    if (least < PART)
        least = PART;
    return (least + sample - 1) / sample * sample;
}

INLINED void widen_bfloat16(const uint16_t *restrict x, int64_t n, float *restrict wide)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)x[i] << 16;
        memcpy(&wide[i], &bits, sizeof bits);
    }
}

INLINED void widen_float16(const uint16_t *restrict x, int64_t n, float *restrict wide)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t half = x[i] & 0x7fffu, sign = (uint32_t)(x[i] & 0x8000u) << 16;
        /* Exponents move by 127 - 15; that of NaN and Inf to the top. */
        uint32_t bits = (half << 13) + (half >= 0x7c00u ? (255u - 31u) << 23 : (127u - 15u) << 23);
        /* Subnormal: a whole number of 2^-24, which never is a subnormal float32 that the processor might flush. */
        float small = (float)(int32_t)half * 0x1p-24f;
        uint32_t small_bits;
        memcpy(&small_bits, &small, sizeof small);
        bits = (half < 0x0400u ? small_bits : bits) | sign;
        memcpy(&wide[i], &bits, sizeof bits);
    }
}

#define REAL float
#define WHOLE int32_t
#define LARGEST FLT_MAX
#define ABSOLUTE fabsf
#define NAMED(name) name##_float
#include "one_read.c"
#undef REAL
#undef WHOLE
#undef LARGEST
#undef ABSOLUTE
#undef NAMED

#define REAL double
#define WHOLE int64_t
#define LARGEST DBL_MAX
#define ABSOLUTE fabs
#define NAMED(name) name##_double
#include "one_read.c"

/* Returns 1 if the elements need another way: nothing was written to the row then. */
static int one_tensor(const void *x, const struct plan *plan, struct answer *answer)
{
    answer->signal = NULL;
    if (plan->order == NO_UNITS)
        answer->sums = answer->squares = NULL;
    return plan->format == FLOAT64 ? tensor_double(x, plan, answer) : tensor_float(x, plan, answer);
}

/* Say how many threads may share a tensor from now on. */
void init_monitor_threads(int64_t threads) { most_threads = threads > 1 ? threads : 1; }

/*
 * Reduce `tensors` tensors that lie one after the other.
 *
 * rows:    [tensors, WIDTH].
 * sums:    [tensors, units] sums over samples of the mean over positions; squares: [tensors] of its square, NaN unless
 *          asked for. Not touched without units.
 * highs, lows: [tensors, units] in double for float64, float otherwise; NULL if nobody asks. A NaN stays one.
 *
 * Returns 0; 1 if the elements need another way (float64 whose squares leave the format) or there is no memory: what was
 * written is then to be thrown away.
 */
int init_monitor_reduce(const void *x, int64_t tensors, const struct plan *plan, double *rows, double *sums,
                        double *squares, void *highs, void *lows)
{
    static const int64_t width[] = {sizeof(float), sizeof(double), sizeof(uint16_t), sizeof(uint16_t)};
    int64_t working = plan->format == FLOAT64 ? sizeof(double) : sizeof(float);
    int odd = 0;
    for (int64_t g = 0; g < tensors && !odd; g++) {
        int64_t at = g * plan->units;
        struct answer answer = {
            .row = rows + g * WIDTH,
            .sums = sums + at,
            .squares = squares + g,
            .highs = highs == NULL ? NULL : (char *)highs + at * working,
            .lows = lows == NULL ? NULL : (char *)lows + at * working,
        };
        odd = one_tensor((const char *)x + g * plan->elements * width[plan->format], plan, &answer);
    }
    return odd;
}

/* Merge a row into another (Chan, Golub and LeVeque 1979, Eq. 2.1). */
static void merge(double *row, const double *more)
{
    double count = row[COUNT] + more[COUNT], apart = more[MEAN] - row[MEAN];
    if (row[COUNT] > 0 && more[COUNT] > 0) {
        row[MEAN] += apart * (more[COUNT] / count);
        row[M2] += more[M2] + apart * apart * (row[COUNT] * (more[COUNT] / count));
    } else if (more[COUNT] > 0) {
        row[MEAN] = more[MEAN];
        row[M2] = more[M2];
    }
    row[COUNT] = count;
    row[LOW] = more[LOW] < row[LOW] ? more[LOW] : row[LOW];
    row[HIGH] = more[HIGH] > row[HIGH] ? more[HIGH] : row[HIGH];
    row[ZEROS] += more[ZEROS];
    row[NONFINITE] += more[NONFINITE];
    row[SATURATED] += more[SATURATED];
}

/*
 * Reduce one tensor, and add what it holds to a row; to its units' sums and extremes, if they hold something (`more`).
 *
 * Arguments as above. Returns 1 if the row has to be made in another way, and was not touched; that of units is right
 * all the same, unless there is no memory.
 */
int init_monitor_add(const void *x, const struct plan *plan, int64_t more, double *row, double *sums, double *squares,
                     void *highs, void *lows)
{
    double fresh[WIDTH];
    struct answer answer = {
        .row = fresh, .sums = sums, .squares = squares, .highs = highs, .lows = lows, .more = more != 0};
    if (one_tensor(x, plan, &answer))
        return 1;
    merge(row, fresh);
    return 0;
}

#else /* The rest is compiled twice: for REAL = float, and for REAL = double. */

/* What was seen of a tensor so far. */
struct NAMED(seen) {
    double sum, square; /* of x - pivot, finite elements only */
    REAL low, high;     /* of the pivot and the finite elements */
    int64_t nonfinite, zeros, beyond;
};

/* Add a piece to it. An element that is not finite is taken for the pivot, which changes neither sum nor extreme. */
INLINED void NAMED(moments)(const REAL *restrict x, int64_t n, REAL pivot, struct NAMED(seen) *seen)
{
    double sum[LANES] = {0}, square[LANES] = {0};
    REAL low[LANES], high[LANES];
    WHOLE nonfinite[LANES] = {0};
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) {
        low[j] = seen->low;
        high[j] = seen->high;
    }
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            REAL v = x[i + j];
            WHOLE finite = ABSOLUTE(v) <= LARGEST;
            REAL kept = finite ? v : pivot;
            double d = (double)kept - (double)pivot;
            sum[j] += d;
            square[j] += d * d;
            low[j] = kept < low[j] ? kept : low[j];
            high[j] = kept > high[j] ? kept : high[j];
            nonfinite[j] += !finite;
        }
    for (int j = 0; i < n; i++, j++) {
        WHOLE finite = ABSOLUTE(x[i]) <= LARGEST;
        REAL kept = finite ? x[i] : pivot;
        double d = (double)kept - (double)pivot;
        sum[j] += d;
        square[j] += d * d;
        low[j] = kept < low[j] ? kept : low[j];
        high[j] = kept > high[j] ? kept : high[j];
        nonfinite[j] += !finite;
    }
    for (int j = 0; j < LANES; j++) {
        seen->sum += sum[j];
        seen->square += square[j];
        seen->low = low[j] < seen->low ? low[j] : seen->low;
        seen->high = high[j] > seen->high ? high[j] : seen->high;
        seen->nonfinite += nonfinite[j];
    }
}

INLINED int64_t NAMED(zeros)(const REAL *restrict x, int64_t n)
{
    WHOLE zeros = 0; /* of a piece: int32_t is enough */
    for (int64_t i = 0; i < n; i++)
        zeros += x[i] == 0;
    return zeros;
}

INLINED int64_t NAMED(beyond)(const REAL *restrict x, int64_t n, REAL centre, REAL reach)
{
    WHOLE beyond = 0;
    for (int64_t i = 0; i < n; i++)
        beyond += ABSOLUTE(x[i] - centre) >= reach;
    return beyond;
}

/* A NaN is larger than everything and smaller than everything, so that it stays. */
INLINED REAL NAMED(larger)(REAL a, REAL b) { return (a > b) | (a != a) ? a : b; }
INLINED REAL NAMED(smaller)(REAL a, REAL b) { return (a < b) | (a != a) ? a : b; }

/* One unit in one sample, of which a piece may bring a part. */
struct NAMED(run) {
    double sum;
    REAL low, high;
};

INLINED void NAMED(part_of_run)(const REAL *restrict x, int64_t n, int extremes, struct NAMED(run) *run)
{
    double sum[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sum[j] += x[i + j];
    for (int j = 0; i < n; i++, j++)
        sum[j] += x[i];
    for (int j = 0; j < LANES; j++)
        run->sum += sum[j];
    if (!extremes)
        return;
    /* NaN is counted apart, and the short loop kept one: otherwise gcc does not vectorise it (15 times as slow). */
    REAL low[LANES], high[LANES];
    WHOLE nan[LANES] = {0}, any = 0;
    for (int j = 0; j < LANES; j++) {
        low[j] = run->low;
        high[j] = run->high;
    }
    for (i = 0; i + LANES <= n; i += LANES)
#pragma GCC unroll 1
        for (int j = 0; j < LANES; j++) {
            REAL v = x[i + j];
            high[j] = v > high[j] ? v : high[j];
            low[j] = v < low[j] ? v : low[j];
            nan[j] += v != v;
        }
    for (int j = 0; i < n; i++, j++) {
        high[j] = x[i] > high[j] ? x[i] : high[j];
        low[j] = x[i] < low[j] ? x[i] : low[j];
        nan[j] += x[i] != x[i];
    }
    for (int j = 0; j < LANES; j++) {
        run->high = NAMED(larger)(high[j], run->high);
        run->low = NAMED(smaller)(low[j], run->low);
        any += nan[j];
    }
    if (any)
        run->high = run->low = (REAL)NAN;
}

/* [sample, unit, position]: the elements of a unit in a sample lie together. `at` is where the piece starts. */
INLINED void NAMED(units_of_runs)(const REAL *restrict x, int64_t n, int64_t at, const struct plan *plan,
                                  struct NAMED(run) *run, struct answer *answer)
{
    REAL *highs = answer->highs, *lows = answer->lows;
    while (n > 0) {
        int64_t unit = at / plan->positions % plan->units, left = plan->positions - at % plan->positions;
        int64_t part = left < n ? left : n;
        NAMED(part_of_run)(x, part, highs != NULL, run);
        if (part == left) {
            double signal = run->sum / (double)plan->positions;
            answer->sums[unit] += signal;
            *answer->squares += signal * signal;
            if (highs != NULL) {
                highs[unit] = NAMED(larger)(run->high, highs[unit]);
                lows[unit] = NAMED(smaller)(run->low, lows[unit]);
            }
            *run = (struct NAMED(run)){0, (REAL)INFINITY, -(REAL)INFINITY};
        }
        x += part;
        at += part;
        n -= part;
    }
}

/* [sample, position, unit]: each unit has one element in turn. */
INLINED void NAMED(units_in_turn)(const REAL *restrict x, int64_t n, int64_t at, const struct plan *plan,
                                  struct answer *answer)
{
    REAL *restrict highs = answer->highs, *restrict lows = answer->lows;
    /* Without squares there is one position: the signal is the element. */
    double *restrict sums = plan->squares ? answer->signal : answer->sums;
    while (n > 0) {
        int64_t unit = at % plan->units, left = plan->units - unit, part = left < n ? left : n;
        for (int64_t i = 0; i < part; i++)
            sums[unit + i] += x[i];
        if (highs != NULL)
            for (int64_t i = 0; i < part; i++) {
                highs[unit + i] = NAMED(larger)(x[i], highs[unit + i]);
                lows[unit + i] = NAMED(smaller)(x[i], lows[unit + i]);
            }
        x += part;
        at += part;
        n -= part;
        if (plan->squares && at % (plan->units * plan->positions) == 0) {
            double squares = 0;
            for (int64_t i = 0; i < plan->units; i++) {
                double signal = sums[i] / (double)plan->positions;
                answer->sums[i] += signal;
                squares += signal * signal;
                sums[i] = 0;
            }
            *answer->squares += squares;
        }
    }
}

/* Return a piece in the working format: where it lies, or widened into `wide`. */
INLINED const REAL *NAMED(piece)(const void *x, int64_t at, int64_t n, int64_t format, int64_t stride, REAL *wide)
{
    uint16_t narrow[PIECE];
    if (stride > 1 && (format == BFLOAT16 || format == FLOAT16)) {
        for (int64_t i = 0; i < n; i++)
            narrow[i] = ((const uint16_t *)x)[(at + i) * stride];
        if (format == BFLOAT16)
            widen_bfloat16(narrow, n, (float *)wide);
        else
            widen_float16(narrow, n, (float *)wide);
    } else if (stride > 1) {
        for (int64_t i = 0; i < n; i++)
            wide[i] = ((const REAL *)x)[(at + i) * stride];
    } else if (format == BFLOAT16)
        widen_bfloat16((const uint16_t *)x + at, n, (float *)wide);
    else if (format == FLOAT16)
        widen_float16((const uint16_t *)x + at, n, (float *)wide);
    else
        return (const REAL *)x + at;
    return wide;
}

INLINED void NAMED(begin)(const struct plan *plan, struct answer *answer)
{
    REAL *highs = answer->highs, *lows = answer->lows;
    if (answer->signal != NULL)
        memset(answer->signal, 0, (size_t)plan->units * sizeof *answer->signal);
    if (plan->order == NO_UNITS || answer->more)
        return;
    *answer->squares = 0;
    memset(answer->sums, 0, (size_t)plan->units * sizeof *answer->sums);
    for (int64_t u = 0; highs != NULL && u < plan->units; u++) {
        highs[u] = -(REAL)INFINITY;
        lows[u] = (REAL)INFINITY;
    }
}

/* Write the row. Return 1 if a square may have left the format. */
INLINED int NAMED(finish)(const struct NAMED(seen) *seen, REAL pivot, const struct plan *plan, struct answer *answer)
{
    double count = (double)(plan->elements - seen->nonfinite), *row = answer->row;
    double spread = (double)seen->high - (double)seen->low, m2 = 0;
    if (sizeof(REAL) == sizeof(double) && (!(spread < 1e140) || (spread > 0 && spread < 1e-140)))
        return 1;
    if (count > 0)
        m2 = seen->square - seen->sum * seen->sum / count;
    row[COUNT] = count;
    row[MEAN] = count > 0 ? (double)pivot + seen->sum / count : 0;
    row[M2] = m2 > 0 ? m2 : 0;
    row[LOW] = count > 0 ? (double)seen->low : INFINITY;
    row[HIGH] = count > 0 ? (double)seen->high : -INFINITY;
    row[ZEROS] = (double)seen->zeros;
    row[NONFINITE] = (double)seen->nonfinite;
    row[SATURATED] = (double)seen->beyond;
    if (plan->order != NO_UNITS && !plan->squares)
        *answer->squares = NAN;
    return 0;
}

/* The first finite element, which becomes the pivot; 0 if there is none. */
static REAL NAMED(pivot)(const void *x, const struct plan *plan)
{
    REAL wide[1];
    for (int64_t i = 0; i < plan->elements; i++) {
        REAL v = NAMED(piece)(x, i, 1, plan->format, plan->stride, wide)[0];
        if (ABSOLUTE(v) <= LARGEST)
            return v;
    }
    return 0;
}

/* Read the elements from one place to another. */
FOR_EACH_CPU static void NAMED(read)(const void *x, int64_t from, int64_t to, const struct plan *plan, REAL pivot,
                                     struct NAMED(seen) *seen, struct answer *answer)
{
    REAL wide[PIECE];
    struct NAMED(run) run = {0, (REAL)INFINITY, -(REAL)INFINITY};
    *seen = (struct NAMED(seen)){.low = pivot, .high = pivot};
    NAMED(begin)(plan, answer);
    for (int64_t at = from; at < to; at += PIECE) {
        int64_t n = to - at < PIECE ? to - at : PIECE;
        const REAL *piece = NAMED(piece)(x, at, n, plan->format, plan->stride, wide);
        NAMED(moments)(piece, n, pivot, seen);
        if (plan->zeros)
            seen->zeros += NAMED(zeros)(piece, n);
        if (plan->knee)
            seen->beyond += NAMED(beyond)(piece, n, (REAL)plan->centre, (REAL)plan->reach);
        if (plan->order == POSITIONS_INNERMOST)
            NAMED(units_of_runs)(piece, n, at, plan, &run, answer);
        else if (plan->order == UNITS_INNERMOST)
            NAMED(units_in_turn)(piece, n, at, plan, answer);
    }
}

/* Some parts of a tensor, which one thread reads. */
struct NAMED(share) {
    const void *x;
    const struct plan *plan;
    REAL pivot;
    int64_t size, first, last; /* elements of a part; the parts from the first up to the last, without it */
    struct NAMED(seen) *seen;  /* of all parts */
    struct answer *answers;
};

static void *NAMED(read_share)(void *given)
{
    struct NAMED(share) *share = given;
    for (int64_t i = share->first; i < share->last; i++) {
        int64_t from = i * share->size, to = from + share->size;
        NAMED(read)(share->x, from, to < share->plan->elements ? to : share->plan->elements, share->plan, share->pivot,
                    &share->seen[i], &share->answers[i]);
    }
    return NULL;
}

/* Read all parts, by `count` threads; what no thread can be made for is read by this one. */
static void NAMED(read_parts)(struct NAMED(share) whole, int64_t count)
{
#ifdef WITH_THREADS
    pthread_t threads[MOST_PARTS];
    struct NAMED(share) shares[MOST_PARTS];
    int64_t parts = whole.last, made = 0;
    for (int64_t t = 1; t < count; t++) {
        shares[made] = whole;
        shares[made].first = parts * t / count;
        shares[made].last = parts * (t + 1) / count;
        if (pthread_create(&threads[made], NULL, NAMED(read_share), &shares[made]))
            NAMED(read_share)(&shares[made]);
        else
            made++;
    }
    whole.last = parts / count;
    NAMED(read_share)(&whole);
    for (int64_t t = 0; t < made; t++)
        pthread_join(threads[t], NULL);
#else
    (void)count;
    NAMED(read_share)(&whole);
#endif
}

/* Add what a part holds to the whole. */
static void NAMED(put_together)(const struct NAMED(seen) *part, const struct answer *units, const struct plan *plan,
                                struct NAMED(seen) *seen, struct answer *answer)
{
    REAL *highs = answer->highs, *lows = answer->lows, *part_highs = units->highs, *part_lows = units->lows;
    seen->sum += part->sum;
    seen->square += part->square;
    seen->low = part->low < seen->low ? part->low : seen->low;
    seen->high = part->high > seen->high ? part->high : seen->high;
    seen->nonfinite += part->nonfinite;
    seen->zeros += part->zeros;
    seen->beyond += part->beyond;
    if (plan->order == NO_UNITS)
        return;
    *answer->squares += *units->squares;
    for (int64_t u = 0; u < plan->units; u++)
        answer->sums[u] += units->sums[u];
    for (int64_t u = 0; highs != NULL && u < plan->units; u++) {
        highs[u] = NAMED(larger)(part_highs[u], highs[u]);
        lows[u] = NAMED(smaller)(part_lows[u], lows[u]);
    }
}

/* Numbers that the units of one part need besides: sums, mean signals, squares, extremes. */
#define OF_UNITS(plan) ((plan)->order == NO_UNITS ? 0 : 4 * (plan)->units + 1)

/* Give a part, or the whole, its memory for units. */
static void NAMED(place)(double *memory, const struct plan *plan, const struct answer *whole, struct answer *part)
{
    *part = *whole;
    part->more = 0;
    if (plan->order == NO_UNITS)
        return;
    part->sums = memory;
    part->signal = plan->order == UNITS_INNERMOST && plan->squares ? memory + plan->units : NULL;
    part->highs = whole->highs == NULL ? NULL : memory + 2 * plan->units;
    part->lows = whole->lows == NULL ? NULL : memory + 3 * plan->units;
    part->squares = memory + 4 * plan->units;
}

static int NAMED(tensor)(const void *x, const struct plan *plan, struct answer *answer)
{
    struct NAMED(seen) seen, each[MOST_PARTS];
    struct answer answers[MOST_PARTS];
    REAL pivot = NAMED(pivot)(x, plan);
    int64_t size = part_size(plan), parts = (plan->elements + size - 1) / size;
    int64_t shared = parts / PER_THREAD < most_threads ? parts / PER_THREAD : most_threads;
    int64_t numbers = parts > 1 ? OF_UNITS(plan) * (shared > 1 ? parts : 1) : 0;
    double *memory = NULL;
    if (parts <= 1 && plan->order == UNITS_INNERMOST && plan->squares)
        numbers = plan->units;
    if (numbers) {
        memory = malloc((size_t)numbers * sizeof *memory);
        if (memory == NULL)
            return 1;
    }
    if (parts <= 1) {
        answer->signal = memory;
        NAMED(read)(x, 0, plan->elements, plan, pivot, &seen, answer);
    } else {
        struct NAMED(share) whole = {x, plan, pivot, size, 0, parts, each, answers};
        for (int64_t i = 0; i < parts; i++)
            NAMED(place)(memory + (shared > 1 ? i * OF_UNITS(plan) : 0), plan, answer, &answers[i]);
        if (shared > 1)
            NAMED(read_parts)(whole, shared);
        seen = (struct NAMED(seen)){.low = pivot, .high = pivot};
        answer->signal = NULL;
        NAMED(begin)(plan, answer);
        for (int64_t i = 0; i < parts; i++) {
            if (shared <= 1) { /* all in the memory of one */
                whole.first = i;
                whole.last = i + 1;
                NAMED(read_share)(&whole);
            }
            NAMED(put_together)(&each[i], &answers[i], plan, &seen, answer);
        }
    }
    free(memory);
    return NAMED(finish)(&seen, pivot, plan, answer);
}

#undef OF_UNITS

#endif
