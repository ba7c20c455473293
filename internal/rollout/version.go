package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/secret-sync/secret-sync/internal/kube"
	"github.com/secret-sync/secret-sync/internal/status"
)

// Version is one state of a Secret in the API server.
type Version struct {
	Secret          string `json:"secret"`
	UID             string `json:"uid"`
	ResourceVersion string `json:"resourceVersion"`
}

// version reads the present version of the Secret, and nothing else of it.
func (o *Options) version(ctx context.Context) (Version, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	body, err := o.API.Get(ctx, kube.MetadataOnly, kube.Secrets.Path(o.Namespace, o.Secret))
	var object metav1.PartialObjectMetadata
	if err == nil && (json.Unmarshal(body, &object) != nil || object.UID == "" || object.ResourceVersion == "") {
		err = fmt.Errorf("read Secret %q: the answer is not what a Kubernetes API server gives", o.Secret)
	}
	return Version{Secret: o.Secret, UID: string(object.UID), ResourceVersion: object.ResourceVersion}, err
}

func (v Version) String() string {
	return fmt.Sprintf("version %s of Secret %q (uid %s)", v.ResourceVersion, v.Secret, v.UID)
}

// reached reports whether another version of the same object is v or a newer one.
// Versions that cannot be compared are equal or not reached.
func (v Version) reached(resourceVersion string) bool {
	order, err := resourceversion.CompareResourceVersion(resourceVersion, v.ResourceVersion)
	return err == nil && order >= 0 || resourceVersion == v.ResourceVersion
}

// changedTo returns why a yes for v means nothing any more, now that the Secret is
// at another version: nil if that is v or a newer one of the same object.
func (v Version) changedTo(now Version) error {
	switch {
	case now.UID != v.UID:
		return fmt.Errorf("%w: Secret %q was deleted and created again while waiting (uid %s, then %s); wait again", ErrNotDone, v.Secret, v.UID, now.UID)
	case !v.reached(now.ResourceVersion):
		return fmt.Errorf("%w: Secret %q went back from version %s to %s, as a cluster does that is restored from a backup; see which password is in it, and wait again", ErrNotDone, v.Secret, v.ResourceVersion, now.ResourceVersion)
	}
	return nil
}

// missingIn returns why a sidecar is not done with the version, "" when it is: it
// has seen it or a newer one, its files are in the volume, and every target was
// notified of them.
func (v Version) missingIn(d *status.Document) string {
	s, watched := d.Secrets[v.Secret]
	switch {
	case !watched:
		return fmt.Sprintf("its sidecar does not have Secret %q", v.Secret)
	case !s.Present:
		return "its sidecar sees no such Secret"
	case s.UID != v.UID:
		return fmt.Sprintf("its sidecar has another Secret of that name: uid %s", s.UID)
	case !v.reached(s.ResourceVersion):
		return "its sidecar is at version " + s.ResourceVersion
	case s.Refused != "":
		return "its sidecar refuses the Secret: " + s.Refused
	case s.Generation == 0:
		return "the files are not in the volume yet"
	}
	for _, t := range d.Targets {
		// A number above the volume's is from a volume that was emptied.
		if t.Notified < s.Generation || t.Notified > d.Generation {
			return strings.TrimSuffix(fmt.Sprintf("%s is not notified yet: %s", t.Name, t.Error), ": ")
		}
	}
	return ""
}

// signalled reports whether one of the targets is notified by a signal, which is
// delivered without an answer.
func signalled(d *status.Document) bool {
	return slices.ContainsFunc(d.Targets, func(t status.Target) bool {
		kind, _, _ := strings.Cut(t.Name, "/")
		return kind == "process" || kind == "pidfile"
	})
}
