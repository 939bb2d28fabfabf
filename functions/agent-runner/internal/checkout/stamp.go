package checkout

import (
	"io/fs"
	"time"
)

// stamp tells whether a file was written since. A process can set every time of a file but that of its last change.
type stamp struct {
	size, modified, changed int64
	mode                    fs.FileMode
}

func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), modified: info.ModTime().UnixNano(), changed: changedAt(info), mode: info.Mode()}
}

// settled says whether a write after this moment would get another stamp: clocks of file systems tick slowly.
func (s stamp) settled() bool {
	return s.changed != 0 && time.Since(time.Unix(0, s.changed)) > time.Second
}
