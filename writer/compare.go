package writer

// differs tells whether set needs a new generation.
func (w *Writer) differs(cur *generation, set Set) bool {
	if cur == nil || cur.record.FileMode != w.opts.FileMode || cur.record.Flat != w.opts.Flat ||
		len(cur.record.Secrets) != len(set.Secrets) {
		return true
	}
	for name, files := range set.Secrets {
		if cur.differs(name, files) {
			return true
		}
	}
	return false
}

// differs tells whether files, of the Secret of this name, are others than the
// generation's. The same version of a Secret with other content than was found
// on disk at start is no difference: somebody changed or lost a file while
// nobody looked, and apps are not told of its repair.
func (g *generation) differs(name string, files Files) bool {
	rec, ok := g.record.Secrets[name]
	if !ok {
		return true
	}
	sameVersion := g.restored && rec.UID != "" && rec.UID == files.UID && rec.ResourceVersion == files.ResourceVersion
	if len(rec.Files) == len(files.Content) || sameVersion {
		if g.holdsAll(name, files) {
			return false
		}
	}
	return !sameVersion || !samePaths(rec, files)
}

// holdsAll tells whether the generation has exactly these files.
func (g *generation) holdsAll(name string, files Files) bool {
	if len(g.set.Secrets[name].Content) != len(files.Content) {
		return false
	}
	for file, value := range files.Content {
		if !g.holds(name, file, value) {
			return false
		}
	}
	return true
}

func samePaths(rec secretRecord, files Files) bool {
	for file := range files.Content {
		if _, ok := rec.Files[file]; !ok {
			return false
		}
	}
	return len(rec.Files) == len(files.Content)
}
