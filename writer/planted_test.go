package writer

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/secret-sync/secret-sync/internal/secret"
	"github.com/secret-sync/secret-sync/internal/testsupport"
	"github.com/secret-sync/secret-sync/writer/generation"
	"github.com/secret-sync/secret-sync/writer/volume"
)

// afterPublish returns the directory of a volume with the content fewer and no Writer.
func afterPublish(t *testing.T) string {
	t.Helper()
	dir := testsupport.MemoryDir(t)
	w := opened(t, quiet(testOptions(t, dir)))
	publish(t, w, fewer)
	shut(t, w)
	return dir
}

// forge changes the current generation's record.
func forge(dir string, change func(r *generation.Record)) {
	name := current(dir) + ".json"
	var r generation.Record
	must(json.Unmarshal(must2(os.ReadFile(name)), &r))
	change(&r)
	must(os.WriteFile(name, must2(json.Marshal(r)), 0o644))
}

// allocated returns the bytes that f allocates, and the size of the heap after it.
func allocated(f func()) (total, heap uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, after.HeapAlloc
}

// link makes n hard links to a file, named by their number below dir.
func link(file, dir string, n int) {
	must(os.MkdirAll(dir, 0o755))
	for i := range n {
		must(os.Link(file, fmt.Sprint(dir, "/planted-file-", i)))
	}
}

// withPlanted adds a planted Secret with n files to a record.
func withPlanted(r *generation.Record, n int) {
	s := generation.SecretRecord{Generation: 1, Files: map[string]generation.PathRecord{}}
	for i := range n {
		s.Files[fmt.Sprint("planted-file-", i)] = generation.PathRecord{Added: 1, Changed: 1}
	}
	r.Secrets["planted"] = s
}

// TestOpen_manyLargeRecords: a start parses no record of other generations, and examines few of their files. 30 links
// to a forged record cost 618 MiB and 27 s of CPU at each start.
func TestOpen_manyLargeRecords(t *testing.T) {
	for keys, want := range map[int]int{0: maxOld, 80_000: 1} {
		dir := afterPublish(t)
		r := generation.Record{Format: 1, Generation: 1, Layout: generation.Nested, FileMode: 0o644,
			Secrets: map[string]generation.SecretRecord{}}
		withPlanted(&r, keys)
		put(dir, "large", string(must2(json.Marshal(r))))
		for i := range 30 {
			name := filepath.Join(dir, fmt.Sprint("..2020_01_01_00_00_00.", i))
			must(os.Mkdir(name, 0o755))
			must(os.Link(filepath.Join(dir, "large"), name+".json"))
		}
		opts, seam := withSeam(quiet(testOptions(t, dir)))
		var w *Writer
		total, _ := allocated(func() { w = opened(t, opts) })
		if total > 200<<20 || seam.reads > 200 {
			t.Errorf("a start allocated %d MiB and made %d calls, want at most 200 each", total>>20, seam.reads)
		}
		if len(w.old) != want {
			t.Errorf("%d old generations with records of %d keys, want %d", len(w.old), keys, want)
		}
	}
}

// TestOpen_largePlantedFiles: a start reads a limited number of bytes, however many files a forged record lists. The
// limit is lower if the memory of the container is. The files left out stay until the next publish, which is complete.
func TestOpen_largePlantedFiles(t *testing.T) {
	for _, limit := range []int64{volume.MaxLoaded, 16 << 20} {
		dir := afterPublish(t)
		file := filepath.Join(current(dir), "sparse")
		put(current(dir), "sparse", "")
		must(os.Truncate(file, volume.MaxFile))
		link(file, current(dir)+"/planted", 100)
		forge(dir, func(r *generation.Record) { withPlanted(r, 100) })
		if limit < volume.MaxLoaded {
			defer debug.SetMemoryLimit(debug.SetMemoryLimit(limit))
		}
		var w *Writer
		total, _ := allocated(func() { w = opened(t, quiet(testOptions(t, dir))) })
		if want := limit + 10<<20; int64(total) > want {
			t.Errorf("a start allocated %d MiB, want at most %d", total>>20, want>>20)
		}
		reconcileAll(w)
		if left := must2(os.ReadDir(current(dir) + "/planted")); len(left) != 100 {
			t.Errorf("%d files are left before the first publish, want 100", len(left))
		}
		publish(t, w, fewer)
		reconcileAll(w)
		equal(t, "files", visible(t, dir), shown(generation.Nested, fewer))
	}
}

// TestOpen_deepTreeWithoutARecord: a start lists a planted tree of any depth with few descriptors. It held a descriptor
// for each level, and so failed at each start.
func TestOpen_deepTreeWithoutARecord(t *testing.T) {
	dir := afterPublish(t)
	must(os.Remove(current(dir) + ".json"))
	fd := must2(unix.Open(current(dir), unix.O_DIRECTORY, 0))
	for range 3000 {
		must(unix.Mkdirat(fd, "d", 0o755))
		below := must2(unix.Openat(fd, "d", unix.O_DIRECTORY, 0))
		must(unix.Close(fd))
		fd = below
	}
	must(unix.Close(fd))
	var limit unix.Rlimit
	must(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: limit.Max}))
	defer func() { must(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) }()
	w := opened(t, quiet(testOptions(t, dir)))
	publish(t, w, fewer)
	equal(t, "files", visible(t, dir), shown(generation.Nested, fewer))
	reconcileAll(w) // removes the tree
}

// TestOpen_manyFilesWithoutARecord: the record of a generation with many planted files is limited, so it is readable
// and later generations fit. It keeps the app's own files.
func TestOpen_manyFilesWithoutARecord(t *testing.T) {
	dir := afterPublish(t)
	must(os.Remove(current(dir) + ".json"))
	put(dir, "empty", "")
	link(filepath.Join(dir, "empty"), current(dir)+"/planted", 95_000)
	w := opened(t, quiet(testOptions(t, dir)))
	_, content := w.Current()
	for name := range fewer.Secrets {
		if !content.Secrets[name].Equal(fewer.Secrets[name]) {
			t.Errorf("%s: got %v, want %v", name, content.Secrets[name], fewer.Secrets[name])
		}
	}
	content.Complete, content.Secrets = true, maps.Clone(content.Secrets)
	for i := range 100 {
		content.Secrets[fmt.Sprint("new-", i)] = files("1", "a", "1")
	}
	publish(t, w, content)
	if err := Ready(dir); err != nil {
		t.Error(err)
	}
}

// TestPublish_forgedRemovals: forged removals do not keep a later record from fitting.
func TestPublish_forgedRemovals(t *testing.T) {
	for name, removed := range map[string]map[string][]generation.PathRecord{
		"an invalid path": {strings.Repeat("<", 698_500): {{Secret: "db", Added: 1, Changed: 1}}},
		"a large removal": {"db/x": {{Secret: strings.Repeat("x", 4<<20-2000), Added: 1, Changed: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := afterPublish(t)
			forge(dir, func(r *generation.Record) { r.Removed = removed })
			w := opened(t, quiet(testOptions(t, dir)))
			publish(t, w, manySecrets(20, 10, "1"))
			if err := Ready(dir); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPublish_removalsDoNotFit: a record without room for the removals omits them, and the paths that stayed count as
// changed. The publish failed forever.
func TestPublish_removalsDoNotFit(t *testing.T) {
	w := opened(t, quiet(testOptions(t, testsupport.MemoryDir(t))))
	keys := func(from int) Content {
		f := files(itoa(from))
		for i := range 17_800 {
			f.Values[fmt.Sprintf("%0200d", from+i)] = secret.Value("x")
		}
		return one("db", f)
	}
	publish(t, w, keys(0))
	n := publish(t, w, keys(1000))
	if c := w.ChangesSince(n - 1); len(c.Changed) != 17_800 {
		t.Errorf("%d paths changed since %d, want all", len(c.Changed), n-1)
	}
}

// TestOpen_largeNotified: a large record of notifications counts as lost. It grew when it was written again, so every
// repair failed, and the records of all targets were lost at each start.
func TestOpen_largeNotified(t *testing.T) {
	dir := afterPublish(t)
	put(dir, generation.NotifiedFile,
		`{"format":1,"volume":"x","targets":{"`+strings.Repeat("<", 3<<20)+`":{"notified":1}}}`)
	w := opened(t, quiet(testOptions(t, dir)))
	if _, lost := w.TargetRecords(); !lost {
		t.Error("the record is not lost")
	}
	must(w.SetTargetRecord("webhook", notifiedRecord(1)))
	if got := mismatches(w); len(got) > 0 {
		t.Errorf("%d entries differ", len(got))
	}
	shut(t, w)
	w = opened(t, quiet(testOptions(t, dir)))
	if n, known := lastNotified(w, "webhook"); n != 1 || !known {
		t.Errorf("after a restart: got %d %v, want 1", n, known)
	}
}

// TestReconcile_foreignEntries: the cost of a foreign entry does not depend on the record of notifications. It was
// encoded for each entry: 6.7 s of CPU for 100 of them.
func TestReconcile_foreignEntries(t *testing.T) {
	dir := afterPublish(t)
	var b strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&b, `,"target-%d":{"notified":1}`, i)
	}
	put(dir, generation.NotifiedFile, `{"format":1,"volume":"x","targets":{`+b.String()[1:]+"}}")
	for i := range 300 {
		put(dir, fmt.Sprint("foreign", i), "")
	}
	w := opened(t, quiet(testOptions(t, dir)))
	if total, _ := allocated(func() { reconcileAll(w) }); total > 30<<20 {
		t.Errorf("a reconciliation allocated %d MiB, want at most 30", total>>20)
	}
}

// TestOpen_limitsWarnings: planted records and missing files cause a limited number of warnings at a start.
func TestOpen_limitsWarnings(t *testing.T) {
	dir := testsupport.MemoryDir(t)
	w := opened(t, quiet(testOptions(t, dir)))
	publish(t, w, manySecrets(200, 10, "1"))
	shut(t, w)
	for i := range 1000 {
		name := fmt.Sprint("..2020_01_01_00_00_00.", i)
		must(os.Mkdir(filepath.Join(dir, name), 0o755))
		put(dir, name+".json", "{}")
	}
	for i := range 200 {
		must(os.RemoveAll(fmt.Sprint(current(dir), "/secret", i)))
	}
	log := &testsupport.Log{}
	opts := testOptions(t, dir)
	opts.Logger = log.Logger(slog.LevelInfo)
	w = opened(t, opts)
	if n := log.Count("\n"); n == 0 || n > maxWarned+10 {
		t.Errorf("%d lines, want a few", n)
	}
	if _, err := w.Publish(context.Background(), manySecrets(200, 10, "1")); err != nil {
		t.Error(err)
	}
}

// TestOpen_twoNumbers: a record with a second, forged number is lost. Targets would count as notified of this number.
func TestOpen_twoNumbers(t *testing.T) {
	dir := afterPublish(t)
	name := current(dir) + ".json"
	data := must2(os.ReadFile(name))
	data = fmt.Appendf(data[:len(data)-1], `,"generation":%d}`, uint64(generation.MaxGeneration))
	must(os.WriteFile(name, data, 0o644))
	w := opened(t, quiet(testOptions(t, dir)))
	if n := w.Newest(); n == 0 || n > 10 {
		t.Errorf("got generation %d", n)
	}
	publish(t, w, mixed)
	if err := Ready(dir); err != nil {
		t.Error(err)
	}
}
