package check

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/secret-sync/secret-sync/cmd/kubectl-secret_sync/check/manifest"
)

// checkVolume: the volume is an emptyDir in memory with a limit, and the sidecar can write to it.
func checkVolume(c *checker, s manifest.Sidecar) {
	if !s.Variable("SECRETSYNC_DIR").Known {
		return
	}
	volume, at, mount, mountAt := s.Volume()
	if volume == nil {
		c.add(Error, "volume", s.Path.Add("volumeMounts"),
			fmt.Sprintf("container %s mounts no volume at %s", s.Name, s.Dir()),
			fmt.Sprintf("mount an emptyDir there: `- {name: secrets, mountPath: %s}`", s.Dir()))
		return
	}
	if mount.ReadOnly {
		c.add(Error, "read-only", mountAt.Add("readOnly"),
			fmt.Sprintf("container %s mounts its volume read-only", s.Name),
			"remove `readOnly` here; it belongs to the mount of the app")
	}
	if mount.SubPath != "" || mount.SubPathExpr != "" {
		c.add(Error, "sub-path", mountAt, fmt.Sprintf("container %s mounts its volume with subPath", s.Name),
			"mount the whole volume")
	}
	const remedy = "use `emptyDir: {medium: Memory, sizeLimit: 16Mi}`"
	switch directory := volume.EmptyDir; {
	case directory == nil:
		c.add(Error, "volume-kind", at, fmt.Sprintf("volume %s is not an emptyDir", volume.Name), remedy)
	case directory.Medium != corev1.StorageMediumMemory:
		c.add(Warning, "volume-kind", at.Add("emptyDir"),
			fmt.Sprintf("volume %s writes the Secrets to a disk", volume.Name), remedy)
	}
	if volume.EmptyDir != nil && volume.EmptyDir.SizeLimit == nil {
		c.add(Warning, "volume-size", at.Add("emptyDir"), fmt.Sprintf("volume %s has no sizeLimit", volume.Name),
			remedy)
	}
}

// checkReaders: an app mounts the volume read-only and without subPath.
func checkReaders(c *checker, s manifest.Sidecar) {
	volume, at, _, _ := s.Volume()
	if volume == nil {
		return
	}
	readers := s.Readers(volume.Name)
	if len(readers) == 0 {
		c.add(Error, "not-mounted", at, fmt.Sprintf("no container of the app mounts volume %s", volume.Name),
			fmt.Sprintf("add to the container of the app: `volumeMounts: [{name: %s, mountPath: %s, readOnly: true}]`",
				volume.Name, s.Dir()))
	}
	for _, app := range readers {
		for i, m := range app.VolumeMounts {
			if m.Name == volume.Name {
				checkMount(c, app, m, app.Path.Add("volumeMounts", i))
			}
		}
	}
}

func checkMount(c *checker, app manifest.Container, m corev1.VolumeMount, at manifest.Path) {
	if m.SubPath != "" || m.SubPathExpr != "" {
		c.add(Error, "sub-path", at.Add("subPath"),
			fmt.Sprintf("container %s mounts volume %s with subPath, so it never sees a change", app.Name, m.Name),
			"remove `subPath` and mount the whole volume")
	}
	if !m.ReadOnly && (!app.Init || app.Native()) {
		c.add(Warning, "writable", at, fmt.Sprintf("container %s can write to volume %s", app.Name, m.Name),
			"add `readOnly: true` to the mount")
	}
}

// checkOwners: only the owner of a file can replace it in a volume in memory.
func checkOwners(c *checker, s manifest.Sidecar) {
	volume, _, _, _ := s.Volume()
	user := c.User(s.Container)
	if volume == nil || user == nil {
		return
	}
	for _, other := range c.Containers() {
		writes := func(m corev1.VolumeMount) bool { return m.Name == volume.Name && !m.ReadOnly }
		uid := c.User(other)
		if !other.Init || other.Native() || uid == nil || *uid == *user ||
			!slices.ContainsFunc(other.VolumeMounts, writes) {
			continue
		}
		c.add(Error, "other-uid", c.UserPath(other),
			fmt.Sprintf("init container %s writes to volume %s as UID %d and container %s as UID %d", other.Name,
				volume.Name, *uid, s.Name, *user), "give both containers the same `runAsUser`")
	}
}

// checkMemory: the files in a volume in memory count against the limit of the container. The
// sidecar itself requires 20 MiB, and half of the volume's limit for a change.
func checkMemory(c *checker, s manifest.Sidecar) {
	volume, _, _, _ := s.Volume()
	limit, limited := s.Resources.Limits[corev1.ResourceMemory]
	if volume == nil || volume.EmptyDir == nil || volume.EmptyDir.SizeLimit == nil || !limited {
		return
	}
	if need := 20<<20 + volume.EmptyDir.SizeLimit.Value()*3/2; limit.Value() < need {
		c.add(Warning, "memory", s.Path.Add("resources", "limits", "memory"),
			fmt.Sprintf("the memory limit of container %s is too small for a full volume %s", s.Name, volume.Name),
			fmt.Sprintf("set it to at least %dMi", (need+1<<20-1)>>20))
	}
}
