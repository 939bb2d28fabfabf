package pod

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// mounted are the container's mount points with the directories that play them, the longest mount point first.
type mounted []struct{ point, dir string }

// rewrite replaces a value that is a mount point or a path below one.
func (m mounted) rewrite(value string) string {
	for _, at := range m {
		if value == at.point {
			return at.dir
		}
		if rest, ok := strings.CutPrefix(value, at.point+"/"); ok {
			return filepath.Join(at.dir, rest)
		}
	}
	return value
}

// mount makes the directories of the volumes that the container mounts and fills them.
func (c *Cluster) mount(dir string, id Identity, spec *corev1.PodSpec, container *corev1.Container) (mounted, error) {
	var all mounted
	for _, m := range container.VolumeMounts {
		i := slices.IndexFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			return nil, fmt.Errorf("mount %s: the pod has no volume %s", m.MountPath, m.Name)
		}
		place := filepath.Join(dir, "volumes", m.Name)
		if err := os.MkdirAll(place, 0o700); err != nil {
			return nil, fmt.Errorf("making volume %s: %w", m.Name, err)
		}
		files, err := c.files(id, &spec.Volumes[i])
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", m.Name, err)
		}
		for name, content := range files {
			file := filepath.Join(place, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				return nil, fmt.Errorf("filling volume %s: %w", m.Name, err)
			}
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				return nil, fmt.Errorf("filling volume %s: %w", m.Name, err)
			}
		}
		all = append(all, struct{ point, dir string }{strings.TrimSuffix(m.MountPath, "/"), filepath.Join(place, m.SubPath)})
	}
	slices.SortFunc(all, func(a, b struct{ point, dir string }) int { return cmp.Compare(len(b.point), len(a.point)) })
	return all, nil
}

// files returns what a volume holds at the start, by relative path.
func (c *Cluster) files(id Identity, v *corev1.Volume) (map[string]string, error) {
	switch {
	case v.EmptyDir != nil:
		return nil, nil
	case v.ConfigMap != nil:
		data, err := c.configMap(id.Namespace, v.ConfigMap.Name, v.ConfigMap.Optional)
		return pick(data, v.ConfigMap.Items), err
	case v.Secret != nil:
		data, err := c.secret(id.Namespace, v.Secret.SecretName, v.Secret.Optional)
		return pick(data, v.Secret.Items), err
	case v.Projected != nil:
		return c.projected(id, v.Projected.Sources)
	}
	return nil, errors.New("only emptyDir, configMap, secret and projected volumes are played here")
}

func (c *Cluster) projected(id Identity, sources []corev1.VolumeProjection) (map[string]string, error) {
	files := map[string]string{}
	for _, s := range sources {
		switch {
		case s.ConfigMap != nil:
			data, err := c.configMap(id.Namespace, s.ConfigMap.Name, s.ConfigMap.Optional)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, pick(data, s.ConfigMap.Items))
		case s.Secret != nil:
			data, err := c.secret(id.Namespace, s.Secret.Name, s.Secret.Optional)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, pick(data, s.Secret.Items))
		case s.DownwardAPI != nil:
			for _, item := range s.DownwardAPI.Items {
				if item.FieldRef == nil {
					return nil, fmt.Errorf("downward API file %s: only fieldRef is played here", item.Path)
				}
				value, err := id.field(item.FieldRef.FieldPath)
				if err != nil {
					return nil, err
				}
				files[item.Path] = value
			}
		default:
			return nil, errors.New("this kind of projected source is not played here")
		}
	}
	return files, nil
}

// pick takes the listed keys to their paths, or every key under its own name.
func pick(data map[string]string, items []corev1.KeyToPath) map[string]string {
	if len(items) == 0 {
		return data
	}
	picked := map[string]string{}
	for _, item := range items {
		if value, ok := data[item.Key]; ok {
			picked[item.Path] = value
		}
	}
	return picked
}
