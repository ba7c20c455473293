package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const sbomType = "application/vnd.cyclonedx+json"

// writeSBOM lists the contents of a binary according to the binary itself (`go version
// -m`): the modules with the sums of go.sum, and the standard library.
func writeSBOM(o options, arch string) error {
	info, err := buildinfo.ReadFile(o.binary(arch))
	if err != nil {
		return err
	}
	main := component(cyclonedx.ComponentTypeApplication, info.Main.Path, o.version)
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: o.created.Format(time.RFC3339),
		Component: &main,
		Properties: &[]cyclonedx.Property{
			{Name: "revision", Value: o.revision}, {Name: "os", Value: "linux"}, {Name: "architecture", Value: arch},
		},
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	library := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, "std", goVersion)}
	uses := []string{library[0].BOMRef}
	for _, module := range info.Deps {
		part, err := fromModule(module)
		if err != nil {
			return err
		}
		library, uses = append(library, part), append(uses, part.BOMRef)
	}
	bom.Components = &library
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &uses}}
	return encode(bom, o.binary(arch)+".cdx.json")
}

func component(kind cyclonedx.ComponentType, path, version string) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", path, version)
	return cyclonedx.Component{Type: kind, BOMRef: purl, Name: path, Version: version, PackageURL: purl}
}

// fromModule returns the component of a module. Its sum is the sum in go.sum: the SHA-256
// of the list of the module's files and their SHA-256.
func fromModule(module *debug.Module) (cyclonedx.Component, error) {
	if module.Replace != nil {
		module = module.Replace
	}
	part := component(cyclonedx.ComponentTypeLibrary, module.Path, module.Version)
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(module.Sum, "h1:"))
	if err != nil || len(sum) != 32 {
		return part, fmt.Errorf("the binary contains no sum of module %s", module.Path)
	}
	part.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum)}}
	return part, nil
}

func encode(bom *cyclonedx.BOM, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := cyclonedx.NewBOMEncoder(f, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// sbomArtifact returns the SBOM of the image in subject, as an artifact that refers to it.
// The media type of the configuration is the type of the artifact.
func (o options) sbomArtifact(subject v1.Descriptor) (v1.Image, error) {
	path := o.binary(subject.Platform.Architecture) + ".cdx.json"
	sbom, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), sbomType)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:       static.NewLayer(sbom, sbomType),
		Annotations: map[string]string{"org.opencontainers.image.title": filepath.Base(path)},
	})
	if err != nil {
		return nil, err
	}
	subject = v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest}
	return mutate.Subject(image, subject).(v1.Image), nil
}
