package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// architectures lists the architectures of the image.
var architectures = []string{"amd64", "arm64"}

// The Dockerfile contains the same values.
const user, entrypoint = "65532:65532", "/secret-sync"

func (o options) labels() map[string]string {
	const prefix = "org.opencontainers.image."
	return map[string]string{
		prefix + "title":       "secret-sync",
		prefix + "description": "Keeps a Pod's Secrets as files and notifies its app of changes",
		prefix + "source":      "https://github.com/secret-sync/secret-sync",
		prefix + "licenses":    "Apache-2.0",
		prefix + "version":     o.version,
		prefix + "revision":    o.revision,
	}
}

// writeImage writes an image for each architecture and their index as an OCI layout.
func writeImage(o options) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range architectures {
		image, err := o.imageFor(arch)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	// The index of the layout contains a single entry: the index of the architectures.
	all := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add:        index,
		Descriptor: v1.Descriptor{Annotations: map[string]string{"org.opencontainers.image.ref.name": o.version}},
	})
	_, err := layout.Write(filepath.Join(o.out, "image"), all)
	return err
}

// imageFor returns the equivalent of the Dockerfile's last stage: only the binary.
func (o options) imageFor(arch string) (v1.Image, error) {
	binary, err := os.ReadFile(o.binary(arch))
	if err != nil {
		return nil, err
	}
	files, err := o.tar(file{entrypoint[1:], 0o755, binary})
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(files)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: o.created}, CreatedBy: "COPY /secret-sync /secret-sync",
	}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: o.created}
	config.Config = v1.Config{User: user, Entrypoint: []string{entrypoint}, Labels: o.labels(), WorkingDir: "/"}
	return mutate.ConfigFile(image, config)
}
